//! A host whose model, tools and agents do what a test says.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::agent::agents::Attenuation;
use crate::agent::budget::Remaining;
use crate::agent::conversation::Said;
use crate::agent::inference::{Completion, Model, Request};
use crate::agent::variables::Summary;
use crate::agent::{Agent, Finish, Host, Message, Reply, Turn, agents, elicit, tools};
use crate::bindings::foreshore::types::types::Content;
use crate::memory::wire;
use crate::{Error, Hints, Outcome};

type Script<Question, Answer> = Box<dyn FnMut(&Question) -> Result<Answer, Error>>;

/// A host for tests. What is not scripted is refused (models, tools, agents, people), or kept as
/// the real host keeps it (variables, memory, the conversation, budgets).
///
/// One host serves many turns: [`Scripted::turn`] keeps what was said.
pub struct Scripted {
    /// What `inference.models` says; the first is the default.
    pub models: Vec<Model>,
    /// What may still be used.
    pub budget: Remaining,
    /// What `memory.namespaces` says. An exact name is enforced, and a pattern that ends in `*`.
    pub namespaces: Vec<wire::Granted>,
    /// What agents can ask each other: their names.
    pub agents: Vec<agents::Available>,
    /// What was asked of models, in order; of several at once each.
    pub requests: Vec<Request>,
    /// What tools were called with, in order; of several at once each.
    pub calls: Vec<tools::Call>,
    /// How many calls came at once, in order.
    pub call_batches: Vec<usize>,
    /// What other agents were asked, in order: the agent, the text, its parameters, its limits.
    pub delegations: Vec<Delegation>,
    /// The phases that were shown.
    pub phases: Vec<Phase>,
    /// The answer as it was shown, all turns together.
    pub shown: String,
    /// The thoughts that were shown.
    pub thoughts: String,
    /// The events that were emitted: kind and payload.
    pub events: Vec<(String, Value)>,
    /// What people were asked to allow.
    pub approvals: Vec<String>,
    /// What was said.
    pub said: Vec<Said>,
    /// The rolling summary, and the last turn in it.
    pub summary: Option<(String, u64)>,
    model: Script<Request, Completion>,
    tools: Vec<(tools::Available, Script<Value, Outcome>)>,
    delegate: Script<Delegation, Reply>,
    approve: Script<str, ()>,
    variables: BTreeMap<String, Vec<String>>,
    memory: BTreeMap<(String, String), Vec<wire::Entry>>,
    turns: u64,
}

/// What an agent showed that it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phase {
    /// The word.
    pub name: String,
    /// The line.
    pub message: Option<String>,
}

/// What another agent was asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Delegation {
    /// Whom.
    pub agent: String,
    /// What, as text.
    pub message: String,
    /// With which parameters; null for none.
    pub parameters: Value,
    /// With how much.
    pub limits: Attenuation,
}

impl Default for Scripted {
    fn default() -> Self {
        Self::new()
    }
}

impl Scripted {
    /// A host with one model that can do everything, which is not scripted yet; no tools, no
    /// agents, no memory; budgets that last.
    pub fn new() -> Self {
        let model = Model {
            name: "scripted".to_owned(),
            context_length: Some(8_192),
            tools: true,
            vision: true,
            thinking: true,
            embedding: false,
        };
        Self {
            models: vec![model],
            budget: Remaining {
                tokens: 1_000_000_000,
                cost_micros: 1_000_000_000,
                tool_calls: 1_000_000,
                iterations: 1_000_000,
                wall_ms: 3_600_000,
            },
            namespaces: Vec::new(),
            agents: Vec::new(),
            requests: Vec::new(),
            calls: Vec::new(),
            call_batches: Vec::new(),
            delegations: Vec::new(),
            phases: Vec::new(),
            shown: String::new(),
            thoughts: String::new(),
            events: Vec::new(),
            approvals: Vec::new(),
            said: Vec::new(),
            summary: None,
            model: Box::new(|_| Err(Error::unavailable(None))),
            tools: Vec::new(),
            delegate: Box::new(|asked| {
                Err(Error::not_found(format!("no agent \"{}\" is scripted", asked.agent)))
            }),
            approve: Box::new(|_| Err(Error::Refused("nobody answered".to_owned()))),
            variables: BTreeMap::new(),
            memory: BTreeMap::new(),
            turns: 0,
        }
    }

    /// Says what models answer. A [`Completion`] is made of a text, or of the calls it asks for.
    pub fn model(
        &mut self,
        answer: impl FnMut(&Request) -> Result<Completion, Error> + 'static,
    ) -> &mut Self {
        self.model = Box::new(answer);
        self
    }

    /// Grants a tool, `component.tool`, that takes any object and only reads.
    pub fn tool(
        &mut self,
        name: &str,
        answer: impl FnMut(&Value) -> Result<Outcome, Error> + 'static,
    ) -> &mut Self {
        let available = tools::Available {
            name: name.to_owned(),
            description: format!("The tool {name}."),
            input_schema: r#"{"type":"object"}"#.to_owned(),
            hints: Hints::READ_ONLY,
            needs_approval: false,
        };
        self.described_tool(available, answer)
    }

    /// Grants a tool with everything that the contract says of one.
    pub fn described_tool(
        &mut self,
        available: tools::Available,
        answer: impl FnMut(&Value) -> Result<Outcome, Error> + 'static,
    ) -> &mut Self {
        self.tools.push((available, Box::new(answer)));
        self
    }

    /// Says what other agents reply, and lists one of this name.
    pub fn agent(
        &mut self,
        name: &str,
        reply: impl FnMut(&Delegation) -> Result<Reply, Error> + 'static,
    ) -> &mut Self {
        let description = format!("The agent {name}.");
        self.agents.push(agents::Available { name: name.to_owned(), description });
        self.delegate = Box::new(reply);
        self
    }

    /// Says what people allow.
    pub fn approves(
        &mut self,
        answer: impl FnMut(&str) -> Result<(), Error> + 'static,
    ) -> &mut Self {
        self.approve = Box::new(answer);
        self
    }

    /// Grants a namespace of memory.
    pub fn namespace(&mut self, pattern: &str, writable: bool) -> &mut Self {
        self.namespaces.push(wire::Granted { pattern: pattern.to_owned(), writable });
        self
    }

    /// Puts an entry into memory, with its origin, past any grant.
    pub fn remembered(
        &mut self,
        namespace: &str,
        key: &str,
        value: &Value,
        origin: &str,
    ) -> &mut Self {
        let write = wire::Write {
            key: key.to_owned(),
            value: value.to_string(),
            tags: Vec::new(),
            importance: 0.0,
            ttl_s: None,
            expected_version: None,
        };
        self.write(namespace, &write, origin);
        self
    }

    /// The latest value under a key.
    pub fn memory(&self, namespace: &str, key: &str) -> Option<Value> {
        let entry = self.memory.get(&(namespace.to_owned(), key.to_owned()))?.last()?;
        serde_json::from_str(&entry.value).ok()
    }

    /// The latest version of a variable.
    pub fn variable(&self, name: &str) -> Option<Value> {
        serde_json::from_str(self.variables.get(name)?.last()?).ok()
    }

    /// Has the agent take the next turn of the conversation.
    ///
    /// # Errors
    /// As the agent's turn.
    pub fn turn<A: Agent>(&mut self, message: &str) -> Result<Reply, Error> {
        self.turn_with::<A>(message, &Value::Null)
    }

    /// Has the agent take the next turn, with parameters.
    ///
    /// # Errors
    /// As the agent's turn.
    pub fn turn_with<A: Agent>(
        &mut self,
        message: &str,
        parameters: &Value,
    ) -> Result<Reply, Error> {
        let number = self.turns;
        let turn = Turn {
            conversation_id: "conversation".to_owned(),
            number,
            message: vec![Content::text(message)],
            parameters: (!parameters.is_null()).then(|| parameters.to_string()),
        };
        let (host, reply) = super::with(std::mem::take(self), || A::run(turn));
        *self = host;
        self.turns += 1;
        self.said.push(Said { turn: number, message: Message::user(message) });
        if let Ok(reply) = &reply {
            self.said.push(Said { turn: number, message: Message::assistant(reply.text()) });
        }
        reply
    }

    /// Whether the namespace was granted, and for writing where that is wanted.
    fn reached(&self, namespace: &str, to_write: bool) -> Result<(), Error> {
        let covers = |granted: &wire::Granted| match granted.pattern.strip_suffix('*') {
            Some(start) => namespace.starts_with(start),
            None => granted.pattern == namespace,
        };
        match self.namespaces.iter().find(|granted| covers(granted)) {
            None => Err(Error::denied("memory_not_granted", namespace)),
            Some(granted) if to_write && !granted.writable => {
                Err(Error::denied("memory_read_only", namespace))
            }
            Some(_) => Ok(()),
        }
    }

    fn write(&mut self, namespace: &str, write: &wire::Write, origin: &str) -> u64 {
        let versions = self.memory.entry((namespace.to_owned(), write.key.clone())).or_default();
        let version = versions.last().map_or(1, |entry| entry.version + 1);
        versions.push(wire::Entry {
            key: write.key.clone(),
            value: write.value.clone(),
            version,
            tags: write.tags.clone(),
            importance: write.importance,
            written_at: 0,
            origin: origin.to_owned(),
        });
        version
    }
}

impl Host for Scripted {
    fn chat(&mut self, request: &Request) -> Result<Completion, Error> {
        self.requests.push(request.clone());
        let completion = (self.model)(request)?;
        let used = completion.usage.input_tokens + completion.usage.output_tokens;
        self.budget.tokens = self.budget.tokens.saturating_sub(used.into());
        if request.config.stream_to_reply {
            self.shown.push_str(&completion.message.text());
        }
        Ok(completion)
    }

    fn models(&mut self) -> Result<Vec<Model>, Error> {
        Ok(self.models.clone())
    }

    fn tools(&mut self) -> Vec<tools::Available> {
        self.tools.iter().map(|(available, _)| available.clone()).collect()
    }

    fn call_tools(&mut self, calls: &[tools::Call]) -> Vec<Result<Outcome, Error>> {
        self.call_batches.push(calls.len());
        let call = |call: &tools::Call| {
            if self.budget.tool_calls == 0 {
                return Err(Error::Exhausted(crate::Budget::Calls));
            }
            self.budget.tool_calls -= 1;
            self.calls.push(call.clone());
            let arguments = serde_json::from_str(&call.arguments)
                .map_err(|error| Error::invalid("", error.to_string()))?;
            let tool = self.tools.iter_mut().find(|(tool, _)| tool.name == call.name);
            let unknown = || Error::not_found(format!("no tool \"{}\" is granted", call.name));
            let (_, answer) = tool.ok_or_else(unknown)?;
            answer(&arguments)
        };
        calls.iter().map(call).collect()
    }

    fn agents(&mut self) -> Vec<agents::Available> {
        self.agents.clone()
    }

    fn delegate(
        &mut self,
        agent: &str,
        message: &[Content],
        parameters: Option<&str>,
        limits: &Attenuation,
    ) -> Result<Reply, Error> {
        let message = Reply { message: message.to_vec(), finish: Finish::Stop };
        let parameters = parameters.map(serde_json::from_str).transpose()?;
        let asked = Delegation {
            agent: agent.to_owned(),
            message: message.text(),
            parameters: parameters.unwrap_or_default(),
            limits: limits.clone(),
        };
        self.delegations.push(asked.clone());
        (self.delegate)(&asked)
    }

    fn memory_namespaces(&mut self) -> Vec<wire::Granted> {
        self.namespaces.clone()
    }

    fn memory_get(&mut self, namespace: &str, key: &str) -> Result<Option<wire::Entry>, Error> {
        self.reached(namespace, false)?;
        let versions = self.memory.get(&(namespace.to_owned(), key.to_owned()));
        Ok(versions.and_then(|versions| versions.last()).cloned())
    }

    fn memory_put(&mut self, namespace: &str, write: &wire::Write) -> Result<u64, Error> {
        self.reached(namespace, true)?;
        Ok(self.write(namespace, write, "agent:scripted"))
    }

    fn memory_delete(&mut self, namespace: &str, key: &str) -> Result<bool, Error> {
        self.reached(namespace, true)?;
        Ok(self.memory.remove(&(namespace.to_owned(), key.to_owned())).is_some())
    }

    /// Entries of which the text of key or value has one of the query's words; most words first.
    fn memory_search(
        &mut self,
        namespace: &str,
        query: &wire::Query,
    ) -> Result<(Vec<wire::Hit>, wire::Method), Error> {
        self.reached(namespace, false)?;
        let words = query.text.to_lowercase();
        let words: Vec<&str> = words
            .split(|letter: char| !letter.is_alphanumeric())
            .filter(|word| word.len() > 2)
            .collect();
        let mut hits: Vec<wire::Hit> = self
            .memory
            .iter()
            .filter(|((of, _), _)| of == namespace)
            .filter_map(|(_, versions)| versions.last())
            .filter_map(|entry| {
                let text = format!("{} {}", entry.key, entry.value).to_lowercase();
                let found = words.iter().filter(|word| text.contains(**word)).count();
                let score = f32::from(u16::try_from(found).unwrap_or(u16::MAX));
                (found > 0).then(|| wire::Hit { entry: entry.clone(), score })
            })
            .collect();
        hits.sort_by(|left, right| right.score.total_cmp(&left.score));
        hits.truncate(usize::try_from(query.limit).unwrap_or(usize::MAX));
        Ok((hits, wire::Method::Lexical))
    }

    fn variables(&mut self) -> Vec<Summary> {
        let summary = |(name, versions): (&String, &Vec<String>)| {
            let value = versions.last()?;
            let first_line = |text: &str| {
                text.lines().next().unwrap_or_default().chars().take(120).collect::<String>()
            };
            let (json_type, first_line) = match serde_json::from_str(value).ok()? {
                Value::Null => ("null", "null".to_owned()),
                Value::Bool(_) => ("boolean", value.clone()),
                Value::Number(_) => ("number", first_line(value)),
                Value::String(text) => ("string", first_line(&text)),
                Value::Array(_) => ("array", first_line(value)),
                Value::Object(_) => ("object", first_line(value)),
            };
            Some(Summary {
                name: name.clone(),
                version: u64::try_from(versions.len()).unwrap_or(u64::MAX),
                json_type: json_type.to_owned(),
                size_bytes: u64::try_from(value.len()).unwrap_or(u64::MAX),
                first_line,
            })
        };
        self.variables.iter().filter_map(summary).collect()
    }

    fn variable(&mut self, name: &str, version: Option<u64>) -> Result<String, Error> {
        let absent = || Error::not_found(format!("no variable \"{name}\""));
        let versions = self.variables.get(name).ok_or_else(absent)?;
        let version = version.map(|version| usize::try_from(version).unwrap_or(usize::MAX));
        let at = version.unwrap_or(versions.len()).checked_sub(1).ok_or_else(absent)?;
        versions.get(at).cloned().ok_or_else(absent)
    }

    fn set_variable(&mut self, name: &str, value: &str) -> Result<u64, Error> {
        let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let is_name = (1..=64).contains(&name.len())
            && name.bytes().next().is_some_and(letter)
            && name.bytes().all(|byte| letter(byte) || byte == b'-' || byte == b'_');
        if !is_name {
            return Err(Error::invalid("/name", "1 to 64 of a-z, 0-9, \"-\" and \"_\""));
        }
        let versions = self.variables.entry(name.to_owned()).or_default();
        versions.push(value.to_owned());
        Ok(u64::try_from(versions.len()).unwrap_or(u64::MAX))
    }

    fn recent(&mut self, limit: u32) -> Vec<Said> {
        let limit = usize::try_from(limit.min(200)).unwrap_or(200);
        self.said[self.said.len().saturating_sub(limit)..].to_vec()
    }

    fn summary(&mut self) -> Option<(String, u64)> {
        self.summary.clone()
    }

    fn set_summary(&mut self, text: &str, through_turn: u64) -> Result<(), Error> {
        let is_past = through_turn < self.turns
            && self.summary.as_ref().is_none_or(|(_, covered)| *covered <= through_turn);
        if !is_past {
            return Err(Error::invalid("/through-turn", "not a turn after what is covered"));
        }
        self.summary = Some((text.to_owned(), through_turn));
        Ok(())
    }

    fn reply_text(&mut self, delta: &str) {
        self.shown.push_str(delta);
    }

    fn reply_thinking(&mut self, delta: &str) {
        self.thoughts.push_str(delta);
    }

    fn reply_phase(&mut self, name: &str, message: Option<&str>) {
        self.phases.push(Phase { name: name.to_owned(), message: message.map(str::to_owned) });
    }

    fn approve(&mut self, action: &str, _details: &str) -> Result<(), Error> {
        self.approvals.push(action.to_owned());
        (self.approve)(action)
    }

    fn elicit(&mut self, _message: &str, _schema: &str) -> Result<elicit::Raw, Error> {
        Ok(elicit::Raw::Cancelled)
    }

    fn emit(&mut self, kind: &str, payload: &str) -> Result<(), Error> {
        self.events.push((kind.to_owned(), serde_json::from_str(payload)?));
        Ok(())
    }

    fn budget(&mut self) -> Remaining {
        self.budget
    }

    fn iteration(&mut self) -> Remaining {
        self.budget.iterations = self.budget.iterations.saturating_sub(1);
        self.budget
    }
}
