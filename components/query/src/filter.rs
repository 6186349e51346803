//! A jq filter: from its text to something that runs, with errors that say where.
//!
//! The language's own library is here, less what reaches out of it. The invariant: of two runs
//! over the same inputs the results are the same.

use jaq_core::data::HasLut;
use jaq_core::load::{self, Arena, File, Loader};
use jaq_core::native::run;
use jaq_core::{Compiler, Ctx, DataT, Lut, Vars, compile, load::lex, load::parse};
use jaq_json::Val;
use jaq_std::input::{self, HasInputs};

/// Natives that look at the environment, the clock or the machine's time zone.
const LEFT_OUT: [&str; 4] = ["env", "now", "localtime", "strflocaltime"];

/// What filters work on: jaq's values, and the inputs that the filter itself may read.
pub(crate) struct Data;

/// What a run has at hand.
pub(crate) struct Shared<'a> {
    lut: &'a Lut<Data>,
    inputs: input::Inputs<'a, Val>,
}

impl DataT for Data {
    type V<'a> = Val;
    type Data<'a> = &'a Shared<'a>;
}

impl<'a> HasLut<'a, Data> for &'a Shared<'a> {
    fn lut(&self) -> &'a Lut<Data> {
        self.lut
    }
}

impl<'a> HasInputs<'a, Val> for &'a Shared<'a> {
    fn inputs(&self) -> input::Inputs<'a, Val> {
        self.inputs
    }
}

/// A filter that can run.
pub(crate) struct Filter {
    compiled: jaq_core::compile::Filter<jaq_core::Native<Data>>,
    variables: Vec<Val>,
}

/// What became of one more result.
pub(crate) enum Step {
    Value(Val),
    Failed(String),
    /// The filter called `halt`.
    Halted,
}

impl Filter {
    /// Compiles a filter. Each variable is a name with its `$`, and a value.
    ///
    /// # Errors
    /// What is wrong with the text, and where.
    pub(crate) fn compile(code: &str, variables: Vec<(String, Val)>) -> Result<Self, String> {
        let own = load::parse(include_str!("definitions.jq"), |parser| parser.defs());
        let own = own.expect("invariant: the shipped definitions parse, as every test shows");
        let definitions =
            jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs()).chain(own);
        let natives = jaq_core::funs()
            .chain(jaq_std::funs().filter(|(name, ..)| !LEFT_OUT.contains(name)))
            .chain(jaq_json::funs())
            .chain(input::funs().into_vec().into_iter().map(run));
        let arena = Arena::default();
        let modules = Loader::new(definitions)
            .load(&arena, File { code, path: () })
            .map_err(|errors| load_errors(&errors))?;
        let (names, values): (Vec<_>, Vec<_>) = variables.into_iter().unzip();
        let compiled = Compiler::default()
            .with_funs(natives)
            .with_global_vars(names.iter().map(String::as_str))
            .compile(modules)
            .map_err(|errors| compile_errors(&errors))?;
        Ok(Self { compiled, variables: values })
    }

    /// What a run of this filter has at hand; `inputs` are those that it reads by itself.
    pub(crate) fn shared<'a>(&'a self, inputs: input::Inputs<'a, Val>) -> Shared<'a> {
        Shared { lut: &self.compiled.lut, inputs }
    }

    /// The results for one input.
    pub(crate) fn run<'a>(
        &'a self,
        shared: &'a Shared<'a>,
        input: Val,
    ) -> impl Iterator<Item = Step> + 'a {
        let context = Ctx::<Data>::new(shared, Vars::new(self.variables.iter().cloned()));
        self.compiled.id.run((context, input)).map(|result| match result {
            Ok(value) => Step::Value(value),
            Err(exception) => match exception.get_err() {
                Ok(error) => Step::Failed(error.to_string()),
                Err(_) => Step::Halted,
            },
        })
    }
}

fn load_errors(errors: &load::Errors<&str, ()>) -> String {
    let described = errors.iter().flat_map(|(file, error)| -> Vec<String> {
        match error {
            load::Error::Io(errors) => errors
                .iter()
                .map(|(path, _)| at(file.code, path, "modules are not available".to_owned()))
                .collect(),
            load::Error::Lex(errors) => errors
                .iter()
                .map(|(expected, found)| lex_error(file.code, expected, found))
                .collect(),
            load::Error::Parse(errors) => errors
                .iter()
                .map(|(expected, found)| parse_error(file.code, expected, found))
                .collect(),
        }
    });
    join(described.collect())
}

fn lex_error(code: &str, expected: &lex::Expect<&str>, found: &str) -> String {
    let what = match found.chars().next() {
        Some(character) => format!("expected {}, found {character:?}", expected.as_str()),
        None => format!("expected {}, found the end", expected.as_str()),
    };
    at(code, found, what)
}

fn parse_error(code: &str, expected: &parse::Expect<&str>, found: &str) -> String {
    let found_text = if found.is_empty() { "the end".to_owned() } else { format!("{found:?}") };
    at(code, found, format!("expected {}, found {found_text}", expected.as_str()))
}

fn compile_errors(errors: &compile::Errors<&str, ()>) -> String {
    let described = errors.iter().flat_map(|(file, errors)| {
        errors.iter().map(|(name, kind)| {
            let what = match kind {
                compile::Undefined::Filter(arity) => {
                    let why = if LEFT_OUT.contains(name) {
                        " (left out: a query looks at its inputs alone)"
                    } else {
                        ""
                    };
                    format!("there is no filter {name}/{arity}{why}")
                }
                kind => format!("there is no {} {name}", kind.as_str()),
            };
            at(file.code, name, what)
        })
    });
    join(described.collect())
}

/// A message with the place of a part of the code, counted from 1.
fn at(code: &str, part: &str, message: String) -> String {
    let start = load::span(code, part).start.min(code.len());
    let before = &code[..code.floor_char_boundary(start)];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
    format!("line {line}, column {column}: {message}")
}

fn join(mut messages: Vec<String>) -> String {
    const SHOWN_MAX: usize = 3;
    messages.truncate(SHOWN_MAX);
    messages.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use jaq_json::read::parse_single;
    use jaq_std::input::RcIter;

    fn results(code: &str, input: &str) -> Vec<String> {
        let filter = Filter::compile(code, Vec::new()).expect("a filter");
        let inputs: RcIter<std::iter::Empty<Result<Val, String>>> = RcIter::new(std::iter::empty());
        let shared = filter.shared(&inputs);
        filter
            .run(&shared, parse_single(input.as_bytes()).expect("json"))
            .map(|step| match step {
                Step::Value(value) => value.to_string(),
                Step::Failed(message) => format!("error: {message}"),
                Step::Halted => "halted".to_owned(),
            })
            .collect()
    }

    fn refused(code: &str) -> String {
        Filter::compile(code, Vec::new()).err().expect("a bad filter")
    }

    #[test]
    fn the_languages_library_is_there() {
        assert_eq!(results(".[] | select(. > 1)", "[1,2,3]"), ["2", "3"]);
        assert_eq!(
            results("group_by(.a) | map(length)", r#"[{"a":1},{"a":2},{"a":1}]"#),
            ["[2,1]"]
        );
        assert_eq!(results("[.[] | test(\"^a\")]", r#"["ab","b"]"#), ["[true,false]"]);
        assert_eq!(results("map(sqrt)", "[4]"), ["[2.0]"]);
        assert_eq!(results("@base64", "\"a\""), ["\"YQ==\""]);
        assert_eq!(results("fromdateiso8601", "\"1970-01-02T00:00:00Z\""), ["86400"]);
        assert_eq!(results("debug, stderr | length", "[1]"), ["1", "1"]);
    }

    #[test]
    fn what_jq_users_know_is_there() {
        let filters = [
            "to_entries",
            "from_entries",
            "with_entries(.)",
            "keys_unsorted",
            "has(\"a\")",
            "paths",
            "getpath([\"a\"])",
            "del(.a)",
            "delpaths([[\"a\"]])",
            "walk(.)",
            "any",
            "all",
            "first",
            "last",
            "limit(1; .[])",
            "until(true; .)",
            "while(false; .)",
            "unique",
            "min_by(.a)",
            "flatten",
            "transpose",
            "tostream",
            "ascii",
            "splits(\",\")",
            "ltrimstr(\"a\")",
            "ascii_downcase",
            "implode",
            "tojson",
            "fromjson",
            "@sh",
            "@uri",
            "@html",
            "@text",
            "@json",
            "@csv",
            "@tsv",
            "sub(\"a\"; \"b\")",
            "gsub(\"a\"; \"b\")",
            "capture(\"(?<x>a)\")",
            "scan(\"a\")",
            "strptime(\"%Y\")",
            "strftime(\"%Y\")",
            "mktime",
            "gmtime",
            "todate",
            "fromdate",
            "INDEX(.a)",
            "IN(1)",
            "getpath([])",
            "pick(.a)",
            "abs",
            "toarray",
            "trim",
            "ltrim",
            "rtrim",
            "splits(\"a\"; \"g\")",
            "combinations",
            "inside([1])",
            "tonumber",
            "infinite",
            "error",
            "halt_error",
            "limit(3; repeat(1))",
            "skip(1; .[])",
            "nth(0)",
            "ltrimstr(1)",
            "range(0; 10; 3)",
            "input",
            "add(.[])",
            "reduce .[] as $x (0; . + 1)",
            "foreach .[] as $x (0; . + 1)",
            "label $out | break $out",
            ". as [$a, {b: $c}] | $a",
            ".a //= 1",
            ".. | numbers",
            "try error(1) catch .",
        ];
        let missing: Vec<_> =
            filters.iter().filter(|code| Filter::compile(code, Vec::new()).is_err()).collect();
        assert_eq!(missing, [&"x"; 0]);
    }

    #[test]
    fn what_is_defined_here_works() {
        assert_eq!(results("@csv", r#"[1,null,"a\"b",true]"#), [r#""1,,\"a\"\"b\",true""#]);
        assert_eq!(results("@tsv", r#"["a\tb",2]"#), [r#""a\\tb\t2""#]);
        assert_eq!(results("[tostream]", r#"{"a":[1]}"#), [r#"[[["a",0],1],[["a",0]],[["a"]]]"#]);
        assert_eq!(results("INDEX(.k) | .x.v", r#"[{"k":"x","v":1}]"#), ["1"]);
        assert!(results("@csv", "[[1]]")[0].contains("a row holds no arrays"));
    }

    #[test]
    fn a_failure_and_a_halt_end_a_run() {
        assert!(results("1, error(\"no\")", "0")[1].contains("no"));
        assert_eq!(results("1, halt, 2", "0")[1], "halted");
        assert!(results(".a", "[1]")[0].starts_with("error: cannot index"));
    }

    #[test]
    fn what_reaches_out_is_not_there_and_says_so() {
        for name in LEFT_OUT {
            let code = if name == "strflocaltime" { "strflocaltime(\"%Y\")" } else { name };
            let error = refused(code);
            assert!(error.contains("left out"), "{error}");
        }
        assert!(refused("$ENV.HOME").contains("there is no variable $ENV"));
        assert!(refused("import \"a\" as a; 1").contains("modules are not available"));
    }

    #[test]
    fn a_bad_filter_says_where() {
        assert_eq!(refused("."[..0].into()), "line 1, column 1: expected term, found the end");
        let error = refused(".a |\n  nosuch(1)");
        assert_eq!(error, "line 2, column 3: there is no filter nosuch/1");
        let error = refused("[.a");
        assert!(error.starts_with("line 1, column 4: expected closing bracket"), "{error}");
        assert!(refused(".a &").starts_with("line 1, column 4: "));
    }

    #[test]
    fn variables_are_given_by_name() {
        let variables = vec![("$n".to_owned(), Val::from(2_isize))];
        let filter = Filter::compile(". * $n", variables).expect("a filter");
        let inputs: RcIter<std::iter::Empty<Result<Val, String>>> = RcIter::new(std::iter::empty());
        let shared = filter.shared(&inputs);
        let values: Vec<_> = filter
            .run(&shared, Val::from(3_isize))
            .map(|step| matches!(step, Step::Value(value) if value == Val::from(6_isize)))
            .collect();
        assert_eq!(values, [true]);
    }
}
