//! `#[tool]` from end to end: a function in, the same function and its `Tool` out.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Error, Ident, ItemFn, LitStr, Result, ReturnType, Signature, Type, parse_quote};

use crate::arguments::{Arguments, first_argument, last_segment};
use crate::attribute::{Attribute, check_name};
use crate::text;

pub(crate) fn tool(attribute: TokenStream, function: TokenStream) -> Result<TokenStream> {
    let attribute = Attribute::parse(attribute)?;
    let mut function: ItemFn = syn::parse2(function)?;
    check_signature(&function.sig, Of::Tool)?;
    let arguments = Arguments::take(&mut function.sig)?;
    let returned = Returned::read(&function.sig.output)?;
    let texts = Texts::read(&attribute, &function, Of::Tool)?;

    let ident = &function.sig.ident;
    let visibility = &function.vis;
    let Texts { name, title, description } = texts;
    let hints = attribute.hints.0.iter().map(|hint| Ident::new(hint, Span::call_site()));
    let (arguments_type, arguments_declaration) = arguments.declaration();
    let argument_list = arguments.call();
    let output_schema = returned.output_schema();
    let run = returned.run(&quote!(#ident(#argument_list)));
    // The function lives among values, so among types its name is free; `export!` and `use`
    // then find both under one name.
    let marker_doc = format!("The tool `{}`.", name.value());

    Ok(quote! {
        #function

        #[doc = #marker_doc]
        #[allow(non_camel_case_types, reason = "it has the name of its function")]
        #visibility enum #ident {}

        const _: () = {
            #arguments_declaration

            #[allow(unused_imports, reason = "it depends on what the tool returns")]
            use ::foreshore_sdk::internal::returns::Structured as _;

            impl ::foreshore_sdk::Tool for #ident {
                const NAME: &'static str = #name;

                fn definition() -> ::foreshore_sdk::Definition {
                    ::foreshore_sdk::internal::definition(
                        ::foreshore_sdk::internal::Described {
                            name: #name,
                            title: ::core::option::Option::Some(#title),
                            description: #description,
                            hints: ::foreshore_sdk::Hints::empty()
                                #(.union(::foreshore_sdk::Hints::#hints))*,
                        },
                        ::foreshore_sdk::internal::input_schema::<#arguments_type>(#name),
                        #output_schema,
                    )
                }

                fn call(
                    arguments: &str,
                ) -> ::core::result::Result<::foreshore_sdk::Outcome, ::foreshore_sdk::Error> {
                    #[allow(unused_variables, reason = "a tool may take no arguments")]
                    let arguments: #arguments_type =
                        ::foreshore_sdk::internal::parse_arguments(arguments)?;
                    #run
                }
            }
        };
    })
}

/// What a function is made to be.
#[derive(Clone, Copy)]
pub(crate) enum Of {
    Tool,
    Agent,
}

impl Of {
    /// The word with its article, and the word.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Tool => ("a tool", "tool"),
            Self::Agent => ("an agent", "agent"),
        }
    }
}

/// What a tool or an agent says of itself.
pub(crate) struct Texts {
    pub(crate) name: LitStr,
    pub(crate) title: LitStr,
    pub(crate) description: String,
}

impl Texts {
    pub(crate) fn read(attribute: &Attribute, function: &ItemFn, of: Of) -> Result<Self> {
        let (a_tool, tool) = of.words();
        let ident = &function.sig.ident;
        let name = match &attribute.name {
            Some(name) => name.clone(),
            None => {
                let name = ident.unraw().to_string();
                check_name(&name).map_err(|text| {
                    Error::new(
                        ident.span(),
                        format!("{text}; or give one: #[{tool}(name = \"..\")]"),
                    )
                })?;
                LitStr::new(&name, ident.span())
            }
        };
        let description = text::doc_comment(&function.attrs).ok_or_else(|| {
            let message = format!(
                "{a_tool} is chosen by its description: write a doc comment that says what it \
                 does, when to use it and what it returns"
            );
            Error::new(ident.span(), message)
        })?;
        if description.len() > text::DESCRIPTION_MAX_BYTES {
            let message = format!(
                "the description has {} bytes, and the host takes {}",
                description.len(),
                text::DESCRIPTION_MAX_BYTES
            );
            return Err(Error::new(ident.span(), message));
        }
        let title = match &attribute.title {
            Some(title) => title.clone(),
            None => LitStr::new(&text::first_sentence(&description), ident.span()),
        };
        Ok(Self { name, title, description })
    }
}

/// What a function returns, with a `Result` around it known by its name.
pub(crate) struct Returned {
    value: Type,
    fallible: bool,
}

impl Returned {
    pub(crate) fn read(output: &ReturnType) -> Result<Self> {
        let kind = match output {
            ReturnType::Default => return Ok(Self { value: parse_quote!(()), fallible: false }),
            ReturnType::Type(_, kind) => &**kind,
        };
        match last_segment(kind) {
            Some(segment) if segment.ident == "Result" => {
                let value = first_argument(segment).cloned().ok_or_else(|| {
                    Error::new_spanned(kind, "write the types out: Result<Value, Error>")
                })?;
                Ok(Self { value, fallible: true })
            }
            _ => Ok(Self { value: kind.clone(), fallible: false }),
        }
    }

    fn output_schema(&self) -> TokenStream {
        let value = &self.value;
        quote_spanned! {value.span()=>
            ::foreshore_sdk::internal::returns::Returned::<#value>::new().output_schema()
        }
    }

    /// The body that runs the call and makes an outcome of what it returns.
    fn run(&self, call: &TokenStream) -> TokenStream {
        let value = &self.value;
        let result = format_ident!("value");
        let unwrapped = self.unwrapped(call);
        quote_spanned! {value.span()=>
            let #result: #value = #unwrapped;
            ::foreshore_sdk::internal::returns::Returned::<#value>::new().outcome(#result)
        }
    }

    /// The call, which returns early with its error if it can fail.
    pub(crate) fn unwrapped(&self, call: &TokenStream) -> TokenStream {
        if self.fallible {
            quote! {
                match #call {
                    ::core::result::Result::Ok(value) => value,
                    ::core::result::Result::Err(error) => {
                        return ::core::result::Result::Err(::foreshore_sdk::Error::from(error));
                    }
                }
            }
        } else {
            call.clone()
        }
    }
}

pub(crate) fn check_signature(signature: &Signature, of: Of) -> Result<()> {
    let (a_tool, _) = of.words();
    if let Some(asyncness) = &signature.asyncness {
        let message = format!(
            "{a_tool} is an ordinary function: a wait inside it blocks nobody but its own call"
        );
        return Err(Error::new_spanned(asyncness, message));
    }
    if !signature.generics.params.is_empty() {
        let message =
            format!("the schema comes from the types, so {a_tool} has no generic parameters");
        return Err(Error::new_spanned(&signature.generics, message));
    }
    if signature.abi.is_some() || signature.variadic.is_some() {
        let message = format!("{a_tool} is an ordinary Rust function");
        return Err(Error::new_spanned(signature, message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(attribute: TokenStream, function: TokenStream) -> String {
        tool(attribute, function).expect_err("refused").to_string()
    }

    #[test]
    fn a_wrong_signature_is_refused_with_the_way_on() {
        let cases = [
            (
                quote!(
                    /** Doc. */
                    async fn f() {}
                ),
                "ordinary function",
            ),
            (
                quote!(
                    /** Doc. */
                    fn f<T>(value: T) {}
                ),
                "no generic parameters",
            ),
            (
                quote!(
                    /** Doc. */
                    fn f(&self) {}
                ),
                "no self",
            ),
            (
                quote!(
                    /** Doc. */
                    fn f(text: &str) {}
                ),
                "write String for &str",
            ),
            (
                quote!(
                    /** Doc. */
                    fn f((a, b): (u8, u8)) {}
                ),
                "plain name",
            ),
            (
                quote!(
                    /** Doc. */
                    fn f(value: impl Into<String>) {}
                ),
                "type of its own",
            ),
            (
                quote!(
                    /** Doc. */
                    fn f(#[cfg(test)] text: String) {}
                ),
                "takes a doc comment",
            ),
            (
                quote!(
                    /** Doc. */
                    fn f() -> std::fmt::Result {
                        Ok(())
                    }
                ),
                "write the types out",
            ),
            (
                quote!(
                    /** Doc. */
                    extern "C" fn f() {}
                ),
                "ordinary Rust function",
            ),
            (
                quote!(
                    fn f() {}
                ),
                "write a doc comment",
            ),
            (
                quote!(
                    /** Doc. */
                    fn F() {}
                ),
                "no tool name",
            ),
        ];
        for (function, expected) in cases {
            let message = refusal(TokenStream::new(), function.clone());
            assert!(message.contains(expected), "{function}: {message}");
        }
    }

    #[test]
    fn a_wrong_attribute_is_refused_with_the_words_there_are() {
        let function = quote!(
            /** Doc. */
            fn f() {}
        );
        let unknown = refusal(quote!(readonly), function.clone());
        assert!(unknown.contains("read_only, destructive, idempotent, open_world"), "{unknown}");
        let both = refusal(quote!(read_only, destructive), function.clone());
        assert!(both.contains("read_only is not destructive"), "{both}");
        let name = refusal(quote!(name = "Has.Dot"), function);
        assert!(name.contains("is no tool name"), "{name}");
    }

    #[test]
    fn a_description_too_long_for_the_host_is_refused() {
        let long = "a".repeat(text::DESCRIPTION_MAX_BYTES + 1);
        let message = refusal(TokenStream::new(), quote!(#[doc = #long] fn f() {}));
        assert!(message.contains("4097 bytes, and the host takes 4096"), "{message}");
    }

    #[test]
    fn the_function_stays_and_loses_only_what_a_function_may_not_have() {
        let function = quote! {
            /// Doc.
            pub fn f(#[serde(default)] mut n: u32, /** Text. */ text: String) -> u32 { n }
        };
        let expanded = tool(TokenStream::new(), function).expect("accepted");
        let file: syn::File = syn::parse2(expanded).expect("items");
        let syn::Item::Fn(function) = &file.items[0] else { panic!("the function comes first") };
        let clean: ItemFn = parse_quote! {
            /// Doc.
            pub fn f(mut n: u32, text: String) -> u32 { n }
        };
        assert_eq!(quote!(#function).to_string(), quote!(#clean).to_string());
    }

    #[test]
    fn one_argument_is_the_whole_object_only_if_its_type_is_the_authors() {
        let whole = |function: TokenStream| {
            let mut function: ItemFn = syn::parse2(function).expect("a function");
            let arguments = Arguments::take(&mut function.sig).expect("accepted");
            matches!(arguments, Arguments::Whole(_))
        };
        assert!(whole(quote!(
            fn f(arguments: Search) {}
        )));
        assert!(whole(quote!(
            fn f(arguments: search::Arguments) {}
        )));
        assert!(!whole(quote!(
            fn f(text: String) {}
        )));
        assert!(!whole(quote!(
            fn f(text: std::string::String) {}
        )));
        assert!(!whole(quote!(
            fn f(n: Option<Search>) {}
        )));
        assert!(!whole(quote!(
            fn f(pair: (u8, u8)) {}
        )));
        assert!(!whole(quote!(
            fn f(
                /** Which. */
                kind: Kind,
            ) {
            }
        )));
        assert!(!whole(quote!(
            fn f(a: Search, b: Search) {}
        )));
        assert!(!whole(quote!(
            fn f() {}
        )));
    }
}
