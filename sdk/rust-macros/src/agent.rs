//! `#[agent]` from end to end: a function in, the same function and its `Agent` out.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Error, FnArg, ItemFn, Result, Type};

use crate::attribute::Attribute;
use crate::expand::{Of, Returned, Texts, check_signature};

pub(crate) fn agent(attribute: TokenStream, function: TokenStream) -> Result<TokenStream> {
    let attribute = Attribute::parse_agent(attribute)?;
    let function: ItemFn = syn::parse2(function)?;
    check_signature(&function.sig, Of::Agent)?;
    let parameters = parameters(&function)?;
    let returned = Returned::read(&function.sig.output)?;
    let Texts { name, title, description } = Texts::read(&attribute, &function, Of::Agent)?;

    let ident = &function.sig.ident;
    let visibility = &function.vis;
    let (schema, call) = match parameters {
        None => (quote!(::core::option::Option::None), quote!(#ident(turn))),
        Some(kind) => (
            quote!(::core::option::Option::Some(
                ::foreshore_sdk::internal::input_schema::<#kind>(#name)
            )),
            quote!({
                let parameters: #kind = turn.parameters()?;
                #ident(turn, parameters)
            }),
        ),
    };
    let reply = returned.unwrapped(&call);
    let marker_doc = format!("The agent `{}`.", name.value());

    Ok(quote! {
        #function

        #[doc = #marker_doc]
        #[allow(non_camel_case_types, reason = "it has the name of its function")]
        #visibility enum #ident {}

        const _: () = {
            impl ::foreshore_sdk::agent::Agent for #ident {
                const NAME: &'static str = #name;

                fn definition() -> ::foreshore_sdk::agent::Definition {
                    ::foreshore_sdk::internal::agent_definition(
                        #name, #title, #description, #schema,
                    )
                }

                fn run(
                    turn: ::foreshore_sdk::agent::Turn,
                ) -> ::core::result::Result<
                    ::foreshore_sdk::agent::Reply,
                    ::foreshore_sdk::Error,
                > {
                    ::core::result::Result::Ok(::foreshore_sdk::agent::Reply::from(#reply))
                }
            }
        };
    })
}

/// The type of the second argument, if there is one.
fn parameters(function: &ItemFn) -> Result<Option<&Type>> {
    let arguments = function.sig.inputs.iter().map(owned).collect::<Result<Vec<_>>>()?;
    match arguments.as_slice() {
        [_turn] => Ok(None),
        [_turn, parameters] => Ok(Some(parameters)),
        _ => Err(Error::new_spanned(&function.sig.ident, SHAPE)),
    }
}

const SHAPE: &str = "an agent is a function of a Turn, and of its parameters if it takes any: \
                     fn name(turn: Turn, parameters: Parameters)";

fn owned(argument: &FnArg) -> Result<&Type> {
    match argument {
        FnArg::Typed(typed) if !matches!(*typed.ty, Type::Reference(_)) => Ok(&typed.ty),
        other => Err(Error::new_spanned(other, SHAPE)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(attribute: TokenStream, function: TokenStream) -> String {
        agent(attribute, function).expect_err("refused").to_string()
    }

    #[test]
    fn a_wrong_function_is_refused_with_the_way_on() {
        let cases = [
            (
                quote!(
                    /** Doc. */
                    fn f() {}
                ),
                "fn name(turn: Turn, parameters: Parameters)",
            ),
            (
                quote!(
                    /** Doc. */
                    fn f(turn: &Turn) {}
                ),
                "fn name(turn: Turn, parameters: Parameters)",
            ),
            (
                quote!(
                    /** Doc. */
                    async fn f(turn: Turn) {}
                ),
                "an agent is an ordinary function",
            ),
            (
                quote!(
                    fn f(turn: Turn) {}
                ),
                "write a doc comment that says what it does",
            ),
            (
                quote!(
                    /** Doc. */
                    fn F(turn: Turn) {}
                ),
                "#[agent(name = \"..\")]",
            ),
        ];
        for (function, expected) in cases {
            let message = refusal(TokenStream::new(), function.clone());
            assert!(message.contains(expected), "{function}: {message}");
        }
        let function = quote!(
            /** Doc. */
            fn f(turn: Turn) {}
        );
        let message = refusal(quote!(read_only), function);
        assert!(message.contains("unknown word in #[agent]"), "{message}");
    }

    #[test]
    fn the_second_argument_is_the_parameters() {
        let function: ItemFn = syn::parse_quote!(
            fn f(turn: Turn, parameters: mine::Parameters) {}
        );
        let kind = parameters(&function).expect("accepted").expect("a type");
        assert_eq!(quote!(#kind).to_string(), "mine :: Parameters");
        let function: ItemFn = syn::parse_quote!(
            fn f(turn: Turn) {}
        );
        assert!(parameters(&function).expect("accepted").is_none());
    }
}
