//! The arguments of a tool: one struct that is the whole object, or one property each.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{
    Attribute, Error, FnArg, GenericArgument, Ident, Pat, PatType, PathArguments, PathSegment,
    Result, Signature, Type,
};

/// How a function takes its arguments.
pub(crate) enum Arguments {
    /// One argument that is the whole arguments object.
    Whole(Box<Type>),
    /// Each argument is a property.
    Named(Vec<Property>),
}

/// An argument that is a property of the arguments object.
pub(crate) struct Property {
    pub(crate) name: Ident,
    kind: Box<Type>,
    /// Doc comment, `#[serde(..)]` and `#[schemars(..)]`: they move to the struct's field.
    attributes: Vec<Attribute>,
}

/// A single argument of one of these types is a property. Of any other named type it is the
/// whole object: a macro cannot ask whether a type is a struct.
const VALUES: &[&str] = &[
    "bool",
    "char",
    "f32",
    "f64",
    "i8",
    "i16",
    "i32",
    "i64",
    "i128",
    "isize",
    "u8",
    "u16",
    "u32",
    "u64",
    "u128",
    "usize",
    "String",
    "Option",
    "Vec",
    "VecDeque",
    "Box",
    "HashMap",
    "BTreeMap",
    "HashSet",
    "BTreeSet",
    "PathBuf",
    "Value",
    "NonZeroU8",
    "NonZeroU16",
    "NonZeroU32",
    "NonZeroU64",
    "NonZeroUsize",
];

impl Arguments {
    /// Reads the arguments and takes off them the attributes that a function may not have.
    pub(crate) fn take(signature: &mut Signature) -> Result<Self> {
        let mut properties =
            signature.inputs.iter_mut().map(Property::take).collect::<Result<Vec<_>>>()?;
        match properties.as_slice() {
            [only] if only.attributes.is_empty() && !is_value(&only.kind) => {
                Ok(Self::Whole(properties.remove(0).kind))
            }
            _ => Ok(Self::Named(properties)),
        }
    }

    /// The type that the arguments object is read into, and what declares it.
    pub(crate) fn declaration(&self) -> (TokenStream, TokenStream) {
        match self {
            Self::Whole(kind) => (quote!(#kind), TokenStream::new()),
            Self::Named(properties) => {
                let fields = properties.iter().map(
                    |Property { name, kind, attributes }| quote!(#(#attributes)* #name: #kind),
                );
                let declaration = quote! {
                    #[derive(::foreshore_sdk::serde::Deserialize, ::foreshore_sdk::schemars::JsonSchema)]
                    #[serde(crate = "::foreshore_sdk::serde", deny_unknown_fields)]
                    #[schemars(crate = "::foreshore_sdk::schemars")]
                    struct ForeshoreArguments { #(#fields),* }
                };
                (quote!(ForeshoreArguments), declaration)
            }
        }
    }

    /// What the function is called with, given a variable `arguments` of that type.
    pub(crate) fn call(&self) -> TokenStream {
        match self {
            Self::Whole(_) => quote!(arguments),
            Self::Named(properties) => {
                let names = properties.iter().map(|property| &property.name);
                quote!(#(arguments.#names),*)
            }
        }
    }
}

impl Property {
    fn take(argument: &mut FnArg) -> Result<Self> {
        let FnArg::Typed(PatType { attrs, pat, ty, .. }) = argument else {
            return Err(Error::new_spanned(
                argument,
                "a tool is a function on its own: each call has a fresh sandbox, so there is no \
                 self to keep anything in",
            ));
        };
        let name = match &**pat {
            Pat::Ident(pattern) if pattern.by_ref.is_none() && pattern.subpat.is_none() => {
                pattern.ident.clone()
            }
            other => {
                return Err(Error::new_spanned(
                    other,
                    "an argument of a tool has a plain name: it is what the caller writes",
                ));
            }
        };
        check_owned(ty)?;
        let attributes = std::mem::take(attrs);
        if let Some(other) = attributes.iter().find(|attribute| !belongs_to_field(attribute)) {
            return Err(Error::new_spanned(
                other,
                "an argument of a tool takes a doc comment, #[serde(..)] and #[schemars(..)]",
            ));
        }
        Ok(Self { name, kind: ty.clone(), attributes })
    }
}

fn belongs_to_field(attribute: &Attribute) -> bool {
    ["doc", "serde", "schemars"].iter().any(|name| attribute.path().is_ident(name))
}

fn check_owned(kind: &Type) -> Result<()> {
    match kind {
        Type::Reference(_) => Err(Error::new_spanned(
            kind,
            "a tool owns its arguments: write String for &str, Vec<T> for &[T]",
        )),
        Type::ImplTrait(_) => Err(Error::new_spanned(
            kind,
            "the schema comes from the type, so an argument of a tool has a type of its own",
        )),
        _ => Ok(()),
    }
}

fn is_value(kind: &Type) -> bool {
    match last_segment(kind) {
        Some(segment) => VALUES.iter().any(|value| segment.ident == value),
        // Tuples, arrays and the like.
        None => true,
    }
}

/// `Result` of `std::result::Result<T, E>`.
pub(crate) fn last_segment(kind: &Type) -> Option<&PathSegment> {
    match kind {
        Type::Path(path) if path.qself.is_none() => path.path.segments.last(),
        Type::Group(group) => last_segment(&group.elem),
        Type::Paren(paren) => last_segment(&paren.elem),
        _ => None,
    }
}

/// `T` of `Result<T, E>`.
pub(crate) fn first_argument(segment: &PathSegment) -> Option<&Type> {
    let PathArguments::AngleBracketed(arguments) = &segment.arguments else { return None };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::Type(kind) => Some(kind),
        _ => None,
    })
}
