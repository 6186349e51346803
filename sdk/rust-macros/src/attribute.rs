//! What stands in the parentheses of `#[tool(..)]` and `#[agent(..)]`.

use proc_macro2::TokenStream;
use syn::parse::Parser;
use syn::{Error, LitStr, Result};

/// The parentheses, read.
#[derive(Default)]
pub(crate) struct Attribute {
    pub(crate) name: Option<LitStr>,
    pub(crate) title: Option<LitStr>,
    pub(crate) hints: Hints,
}

/// The flags, as the names of the contract's constants, in the order they were written.
#[derive(Default)]
pub(crate) struct Hints(pub(crate) Vec<&'static str>);

/// Flag and the constant it stands for.
const FLAGS: [(&str, &str); 4] = [
    ("read_only", "READ_ONLY"),
    ("destructive", "DESTRUCTIVE"),
    ("idempotent", "IDEMPOTENT"),
    ("open_world", "OPEN_WORLD"),
];

impl Attribute {
    pub(crate) fn parse(tokens: TokenStream) -> Result<Self> {
        let mut attribute = Self::default();
        let parser = syn::meta::parser(|meta| {
            let key = meta.path.get_ident().map(ToString::to_string).unwrap_or_default();
            match key.as_str() {
                "name" => attribute.name = Some(checked_name(meta.value()?.parse()?)?),
                "title" => attribute.title = Some(meta.value()?.parse()?),
                _ => match FLAGS.iter().find(|(flag, _)| *flag == key) {
                    Some((_, constant)) => attribute.hints.0.push(constant),
                    None => {
                        return Err(meta.error(
                            "unknown word in #[tool]: it takes name = \"..\", title = \"..\", \
                             read_only, destructive, idempotent, open_world",
                        ));
                    }
                },
            }
            if attribute.hints.contradict() {
                return Err(meta.error("a tool that is read_only is not destructive"));
            }
            Ok(())
        });
        parser.parse2(tokens)?;
        Ok(attribute)
    }

    /// An agent has no flags: what it does, it does by tools.
    pub(crate) fn parse_agent(tokens: TokenStream) -> Result<Self> {
        let mut attribute = Self::default();
        let parser = syn::meta::parser(|meta| {
            let key = meta.path.get_ident().map(ToString::to_string).unwrap_or_default();
            match key.as_str() {
                "name" => attribute.name = Some(checked_name(meta.value()?.parse()?)?),
                "title" => attribute.title = Some(meta.value()?.parse()?),
                _ => {
                    return Err(meta.error(
                        "unknown word in #[agent]: it takes name = \"..\" and title = \"..\"",
                    ));
                }
            }
            Ok(())
        });
        parser.parse2(tokens)?;
        Ok(attribute)
    }
}

impl Hints {
    fn contradict(&self) -> bool {
        self.0.contains(&"READ_ONLY") && self.0.contains(&"DESTRUCTIVE")
    }
}

fn checked_name(literal: LitStr) -> Result<LitStr> {
    check_name(&literal.value()).map_err(|text| Error::new(literal.span(), text))?;
    Ok(literal)
}

/// The host takes only such names, so say it while the author compiles.
pub(crate) fn check_name(name: &str) -> std::result::Result<(), String> {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let fine = (1..=64).contains(&name.len())
        && name.bytes().next().is_some_and(letter)
        && name.bytes().all(|byte| letter(byte) || byte == b'-' || byte == b'_');
    if fine {
        Ok(())
    } else {
        Err(format!(
            "\"{name}\" is no tool name: it takes 1 to 64 of a-z, 0-9, \"-\" and \"_\", first a \
             letter or digit"
        ))
    }
}
