//! One rule: when it is used, and what it answers.
//!
//! Whatever contradicts itself in a rule is refused where it is parsed, so that the parser can
//! name the line.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::answer::Answer;
use super::pattern::{Expression, NameGlob, TextMatch};

/// A rule of a script.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Written")]
pub(crate) struct Rule {
    pub(crate) name: Option<String>,
    pub(crate) when: When,
    /// What is looked for in the prompt, newest message first: the first group, else all of it.
    pub(crate) capture: Vec<(String, Expression)>,
    /// At least one: the first use gets the first one, and so on.
    pub(crate) answers: Vec<Answer>,
    pub(crate) then: Then,
    /// How often it is used before the rules after it get the request.
    pub(crate) times: Option<u64>,
}

/// What comes after the last of several answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Then {
    /// The last one, again.
    #[default]
    Repeat,
    /// The first one.
    Restart,
    /// The rule is used up.
    Pass,
}

/// A rule as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: Option<String>,
    #[serde(default)]
    when: When,
    #[serde(default)]
    capture: BTreeMap<String, Expression>,
    answer: Option<Answer>,
    answers: Option<Vec<Answer>>,
    #[serde(default)]
    then: Then,
    times: Option<u64>,
}

/// Which requests a rule is for. All that is said must hold; what is not said does not matter.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct When {
    /// Of the request. Not said: only what asks a model for text.
    pub(crate) path: Option<NameGlob>,
    pub(crate) model: Option<NameGlob>,
    pub(crate) last_user: Option<TextMatch>,
    pub(crate) any_message: Option<TextMatch>,
    pub(crate) system: Option<TextMatch>,
    /// Tools have answered since the last message of the user.
    pub(crate) tool_result: Option<bool>,
    /// The name of such a tool.
    pub(crate) tool_name: Option<TextMatch>,
    /// What such a tool answered.
    pub(crate) tool_content: Option<TextMatch>,
    /// Any tool is offered.
    pub(crate) tools: Option<bool>,
    /// The name of an offered tool.
    pub(crate) tool_offered: Option<TextMatch>,
    pub(crate) format: Option<FormatKind>,
    pub(crate) images: Option<bool>,
    pub(crate) think: Option<bool>,
    pub(crate) stream: Option<bool>,
}

/// Which form of answer a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum FormatKind {
    /// Text.
    None,
    /// Any JSON.
    Json,
    /// JSON for a schema.
    Schema,
    /// Any JSON, or JSON for a schema.
    Any,
}

impl When {
    /// Its expressions, in the order in which the first that has groups fills `{{1}}`.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &TextMatch> {
        [
            &self.last_user,
            &self.any_message,
            &self.system,
            &self.tool_content,
            &self.tool_name,
            &self.tool_offered,
        ]
        .into_iter()
        .flatten()
    }

    /// What `{{variable NAME}}` and `{{1}}` of an answer can mean.
    fn fills(&self, capture: &BTreeMap<String, Expression>, answer: &Answer) -> Result<(), String> {
        let groups = |it: &TextMatch| it.regex().map_or(0, |regex| regex.captures_len() - 1);
        let groups = self.texts().map(groups).find(|groups| *groups > 0).unwrap_or(0);
        let mut result = Ok(());
        answer.each_template(&mut |template| {
            if template.highest_capture() > groups {
                let highest = template.highest_capture();
                result = Err(format!(
                    "{{{{{highest}}}}} stands for a group of the first regex of `when` that has \
                     groups, and that has {groups}: add ( ) around what you want"
                ));
            }
            if let Some(name) = template.variables().find(|name| !capture.contains_key(*name)) {
                result = Err(format!(
                    "{{{{variable {name}}}}} is not defined: add `{name} = \"REGEX\"` to the \
                     rule's `capture`"
                ));
            }
        });
        result
    }
}

impl TryFrom<Written> for Rule {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let Written { name, when, capture, answer, answers, then, times } = written;
        let of = name.as_deref().map_or("a rule".to_owned(), |name| format!("the rule {name:?}"));
        let answers = match (answer, answers) {
            (Some(answer), None) => vec![answer],
            (None, Some(answers)) if !answers.is_empty() => answers,
            (None, Some(_)) => return Err(format!("{of} has an empty list of answers")),
            (Some(_), Some(_)) => {
                return Err(format!("{of} has `answer` and `answers`: keep one of them"));
            }
            (None, None) => return Err(format!("{of} answers nothing: add `answer`")),
        };
        for answer in &answers {
            when.fills(&capture, answer).map_err(|problem| format!("{of}: {problem}"))?;
        }
        Ok(Self { name, when, capture: capture.into_iter().collect(), answers, then, times })
    }
}

impl Rule {
    /// Which answer a use of it gets, counted from 0; `None` when it is used up.
    pub(crate) fn answer(&self, used: u64) -> Option<&Answer> {
        if self.times.is_some_and(|times| used >= times) {
            return None;
        }
        let count = u64::try_from(self.answers.len()).unwrap_or(u64::MAX);
        let index = match self.then {
            Then::Repeat => used.min(count.saturating_sub(1)),
            Then::Restart => used % count.max(1),
            Then::Pass => used,
        };
        self.answers.get(usize::try_from(index).ok()?)
    }
}
