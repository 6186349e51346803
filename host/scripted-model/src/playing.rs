//! A script as it is played: which rule answers, and how often each has.
//!
//! Invariant: a rule's uses are counted under one lock, so that of concurrent requests exactly
//! one gets the first answer of a sequence.

use std::sync::{Mutex, PoisonError};

use crate::prompt::{Prompt, Role};
use crate::script::Script;
use crate::script::answer::Answer;
use crate::script::pattern::{Expression, TextMatch};
use crate::script::rule::{Rule, When};
use crate::script::template::Facts;

/// A script and its state.
pub(crate) struct Playing {
    pub(crate) script: Script,
    uses: Mutex<Vec<u64>>,
}

/// The answer for one request.
pub(crate) struct Choice<'a> {
    /// The rule's name, or its number from 1.
    pub(crate) rule: String,
    pub(crate) answer: &'a Answer,
    pub(crate) facts: Facts<'a>,
}

impl Playing {
    pub(crate) fn new(script: Script) -> Self {
        let uses = Mutex::new(vec![0; script.rules.len()]);
        Self { script, uses }
    }

    /// The first rule that fits and is not used up. `for_text`: the path asks for text, so that
    /// rules that name no path apply.
    pub(crate) fn choose<'a>(
        &'a self,
        path: &str,
        prompt: &'a Prompt,
        for_text: bool,
    ) -> Option<Choice<'a>> {
        // A std mutex: nothing awaits while it is held.
        let mut uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        for (index, (rule, used)) in self.script.rules.iter().zip(uses.iter_mut()).enumerate() {
            let Some(captures) = rule.when.captures(path, prompt, for_text) else { continue };
            let Some(answer) = rule.answer(*used) else { continue };
            *used += 1;
            return Some(Choice {
                rule: rule.name.clone().unwrap_or_else(|| (index + 1).to_string()),
                answer,
                facts: Facts { prompt, captures, variables: variables(rule, prompt), call: *used },
            });
        }
        None
    }
}

impl When {
    /// The groups of its first expression that has some; `None` when it does not hold.
    fn captures(&self, path: &str, prompt: &Prompt, for_text: bool) -> Option<Vec<String>> {
        let here = self.path.as_ref().map_or(for_text, |glob| glob.matches(path));
        if !here || !self.model_fits(&prompt.model) || !self.shape_fits(prompt) {
            return None;
        }
        let mut caught = Vec::new();
        let system = prompt.system();
        let last_user = prompt.last_user();
        let messages = || prompt.messages.iter().rev().map(|it| it.text.as_str());
        let contents = || prompt.results().rev().map(|(_, content)| content);
        let names = || prompt.results().rev().map(|(name, _)| name);
        let tools = || prompt.tools.iter().map(String::as_str);
        take(&mut caught, self.last_user.as_ref(), [last_user])?;
        take(&mut caught, self.any_message.as_ref(), messages())?;
        take(&mut caught, self.system.as_ref(), [system.as_str()])?;
        take(&mut caught, self.tool_content.as_ref(), contents())?;
        take(&mut caught, self.tool_name.as_ref(), names())?;
        take(&mut caught, self.tool_offered.as_ref(), tools())?;
        Some(caught)
    }

    /// A model may be named with or without `:latest`.
    fn model_fits(&self, model: &str) -> bool {
        let Some(glob) = &self.model else { return true };
        let short = model.strip_suffix(":latest").unwrap_or(model);
        glob.matches(short) || glob.matches(&crate::script::full_name(short))
    }

    fn shape_fits(&self, prompt: &Prompt) -> bool {
        let is = |wanted: Option<bool>, fact: bool| wanted.is_none_or(|wanted| wanted == fact);
        is(self.tool_result, prompt.newest_result().is_some())
            && is(self.tools, !prompt.tools.is_empty())
            && is(self.images, prompt.has_images())
            && is(self.think, prompt.think)
            && is(self.stream, prompt.stream)
            && self.format.is_none_or(|kind| prompt.format.is(kind))
    }
}

/// Holds the texts to a condition: the first that matches gives its groups, unless an earlier
/// condition gave some.
fn take<'a>(
    caught: &mut Vec<String>,
    condition: Option<&TextMatch>,
    texts: impl IntoIterator<Item = &'a str>,
) -> Option<()> {
    let Some(condition) = condition else { return Some(()) };
    let found = texts.into_iter().find_map(|text| condition.captures(text))?;
    // The first with groups, and before one is found the first that matched at all.
    if caught.is_empty() || (caught.len() == 1 && found.len() > 1) {
        *caught = found;
    }
    Some(())
}

/// What a rule looks for in the prompt: in the newest message that has it. Messages of the model
/// itself count too, since that is where a loop keeps what it knows.
fn variables(rule: &Rule, prompt: &Prompt) -> Vec<(String, String)> {
    let value = |expression: &Expression| {
        let newest = prompt.messages.iter().rev().filter(|it| it.role != Role::System);
        let system = prompt.messages.iter().rev().filter(|it| it.role == Role::System);
        newest.chain(system).find_map(|message| {
            let captures = expression.0.captures(&message.text)?;
            let found = captures.get(1).or_else(|| captures.get(0))?;
            Some(found.as_str().to_owned())
        })
    };
    rule.capture.iter().filter_map(|(name, it)| Some((name.clone(), value(it)?))).collect()
}
