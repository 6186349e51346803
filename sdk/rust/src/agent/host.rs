//! The one seam of an agent: everything it asks of the world is a method of [`Host`].
//!
//! In a component that is the host's imports, called directly: what a component does not use, it
//! does not import. Outside one it is whatever [`testing::with`](super::testing::with) put there.
//! The invariant: no module of the SDK asks the world anything for an agent but through here.

use super::agents::Attenuation;
use super::budget::Remaining;
use super::conversation::Said;
use super::inference::{Completion, Model, Request};
use super::variables::Summary;
use super::{Reply, agents, elicit, tools};
use crate::bindings::foreshore::types::types::Content;
use crate::memory::wire;
use crate::{Error, Outcome};

/// What an agent can ask. The methods are the functions of the contract with its own types; the
/// modules beside this one make pleasant calls of them.
///
/// Each has a default that refuses or has nothing, so that a host of a test says only what its
/// agent needs; [`Scripted`](super::testing::Scripted) is one that needs nothing said.
#[allow(unused_variables, reason = "the defaults need none")]
pub trait Host {
    /// `inference.chat`.
    ///
    /// # Errors
    /// As the contract says; so with every method here.
    fn chat(&mut self, request: &Request) -> Result<Completion, Error> {
        Err(absent("model"))
    }
    /// `inference.chat-all`. One after another unless it is said otherwise.
    fn chat_all(&mut self, requests: &[Request]) -> Vec<Result<Completion, Error>> {
        requests.iter().map(|request| self.chat(request)).collect()
    }
    /// `inference.embed`.
    #[allow(missing_docs, reason = "as the contract says")]
    fn embed(&mut self, model: Option<&str>, texts: &[String]) -> Result<Vec<Vec<f32>>, Error> {
        Err(absent("model"))
    }
    /// `inference.models`.
    fn models(&mut self) -> Result<Vec<Model>, Error> {
        Ok(Vec::new())
    }

    /// `tools.list`.
    fn tools(&mut self) -> Vec<tools::Available> {
        Vec::new()
    }
    /// `tools.call-all`.
    fn call_tools(&mut self, calls: &[tools::Call]) -> Vec<Result<Outcome, Error>> {
        calls.iter().map(|_| Err(absent("tool"))).collect()
    }

    /// `agents.list`.
    fn agents(&mut self) -> Vec<agents::Available> {
        Vec::new()
    }
    /// `agents.delegate`.
    fn delegate(
        &mut self,
        agent: &str,
        message: &[Content],
        parameters: Option<&str>,
        limits: &Attenuation,
    ) -> Result<Reply, Error> {
        Err(absent("agent"))
    }

    /// `memory.namespaces`.
    fn memory_namespaces(&mut self) -> Vec<wire::Granted> {
        Vec::new()
    }
    /// `memory.get`.
    fn memory_get(&mut self, namespace: &str, key: &str) -> Result<Option<wire::Entry>, Error> {
        Err(absent("memory"))
    }
    /// `memory.put`.
    fn memory_put(&mut self, namespace: &str, write: &wire::Write) -> Result<u64, Error> {
        Err(absent("memory"))
    }
    /// `memory.delete`.
    fn memory_delete(&mut self, namespace: &str, key: &str) -> Result<bool, Error> {
        Err(absent("memory"))
    }
    /// `memory.list`.
    fn memory_list(
        &mut self,
        namespace: &str,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<String>, Error> {
        Err(absent("memory"))
    }
    /// `memory.versions`.
    fn memory_versions(
        &mut self,
        namespace: &str,
        key: &str,
        limit: u32,
    ) -> Result<Vec<wire::Entry>, Error> {
        Err(absent("memory"))
    }
    /// `memory.search`.
    fn memory_search(
        &mut self,
        namespace: &str,
        query: &wire::Query,
    ) -> Result<(Vec<wire::Hit>, wire::Method), Error> {
        Err(absent("memory"))
    }
    /// `memory.relate`.
    fn memory_relate(&mut self, namespace: &str, relation: &wire::Relation) -> Result<(), Error> {
        Err(absent("memory"))
    }
    /// `memory.neighbours`.
    fn memory_neighbours(
        &mut self,
        namespace: &str,
        key: &str,
        limit: u32,
    ) -> Result<Vec<wire::Relation>, Error> {
        Err(absent("memory"))
    }
    /// `memory.paths`.
    fn memory_paths(
        &mut self,
        namespace: &str,
        from_key: &str,
        to_key: &str,
    ) -> Result<Vec<Vec<wire::Relation>>, Error> {
        Err(absent("memory"))
    }

    /// `variables.index`.
    fn variables(&mut self) -> Vec<Summary> {
        Vec::new()
    }
    /// `variables.get`.
    fn variable(&mut self, name: &str, version: Option<u64>) -> Result<String, Error> {
        Err(absent("variable"))
    }
    /// `variables.set`.
    fn set_variable(&mut self, name: &str, value: &str) -> Result<u64, Error> {
        Err(absent("variable"))
    }

    /// `conversation.recent`.
    fn recent(&mut self, limit: u32) -> Vec<Said> {
        Vec::new()
    }
    /// `conversation.summary`.
    fn summary(&mut self) -> Option<(String, u64)> {
        None
    }
    /// `conversation.set-summary`.
    fn set_summary(&mut self, text: &str, through_turn: u64) -> Result<(), Error> {
        Err(absent("conversation"))
    }

    /// `reply.text`.
    fn reply_text(&mut self, delta: &str) {}
    /// `reply.thinking`.
    fn reply_thinking(&mut self, delta: &str) {}
    /// `reply.phase`.
    fn reply_phase(&mut self, name: &str, message: Option<&str>) {}

    /// `approval.ask`.
    fn approve(&mut self, action: &str, details: &str) -> Result<(), Error> {
        Err(Error::Refused("there is nobody to ask outside a component".to_owned()))
    }
    /// `elicit.ask`.
    fn elicit(&mut self, message: &str, schema: &str) -> Result<elicit::Raw, Error> {
        Err(Error::unavailable(None))
    }
    /// `secrets.exists`.
    fn secret_exists(&mut self, name: &str) -> bool {
        false
    }

    /// `events.emit`.
    fn emit(&mut self, kind: &str, payload: &str) -> Result<(), Error> {
        Ok(())
    }
    /// `events.wake-at`.
    fn wake_at(&mut self, time_unix_ms: u64) -> Result<(), Error> {
        Ok(())
    }

    /// `budget.left`.
    fn budget(&mut self) -> Remaining {
        Remaining {
            tokens: u64::MAX,
            cost_micros: u64::MAX,
            tool_calls: u32::MAX,
            iterations: u32::MAX,
            wall_ms: u64::MAX,
        }
    }
    /// `budget.iteration`.
    fn iteration(&mut self) -> Remaining {
        self.budget()
    }
}

fn absent(what: &str) -> Error {
    Error::failed(format!("there is no {what} outside a component; run it in testing::with"))
}

#[cfg(not(target_family = "wasm"))]
pub(crate) use super::testing::ask;
#[cfg(target_family = "wasm")]
pub(crate) use imports::ask;

#[cfg(target_family = "wasm")]
mod imports {
    //! The host's imports: the methods of `Host`, and no trait object, so that a method that
    //! nobody calls leaves no import behind.

    use super::*;
    use crate::agent::bindings::foreshore as wit;
    use crate::memory::wire as memory;

    pub(crate) struct Imports;

    /// Asks the host.
    pub(crate) fn ask<T>(question: impl FnOnce(&mut Imports) -> T) -> T {
        question(&mut Imports)
    }

    fn each<T>(
        results: Vec<Result<T, crate::bindings::foreshore::types::types::Error>>,
    ) -> Vec<Result<T, Error>> {
        results.into_iter().map(|result| result.map_err(Error::from)).collect()
    }

    impl Imports {
        pub(crate) fn chat(&mut self, request: &Request) -> Result<Completion, Error> {
            Ok(wit::inference::inference::chat(&request.messages, &request.config)?)
        }
        pub(crate) fn chat_all(&mut self, requests: &[Request]) -> Vec<Result<Completion, Error>> {
            each(wit::inference::inference::chat_all(requests))
        }
        pub(crate) fn embed(
            &mut self,
            model: Option<&str>,
            texts: &[String],
        ) -> Result<Vec<Vec<f32>>, Error> {
            Ok(wit::inference::inference::embed(model, texts)?)
        }
        pub(crate) fn models(&mut self) -> Result<Vec<Model>, Error> {
            Ok(wit::inference::inference::models()?)
        }
        pub(crate) fn tools(&mut self) -> Vec<tools::Available> {
            wit::tools::tools::list()
        }
        pub(crate) fn call_tools(&mut self, calls: &[tools::Call]) -> Vec<Result<Outcome, Error>> {
            each(wit::tools::tools::call_all(calls))
        }
        pub(crate) fn agents(&mut self) -> Vec<agents::Available> {
            wit::agents::agents::list()
        }
        pub(crate) fn delegate(
            &mut self,
            agent: &str,
            message: &[Content],
            parameters: Option<&str>,
            limits: &Attenuation,
        ) -> Result<Reply, Error> {
            Ok(wit::agents::agents::delegate(agent, message, parameters, limits)?)
        }
        pub(crate) fn memory_namespaces(&mut self) -> Vec<wire::Granted> {
            memory::namespaces()
        }
        pub(crate) fn memory_get(
            &mut self,
            namespace: &str,
            key: &str,
        ) -> Result<Option<wire::Entry>, Error> {
            Ok(memory::get(namespace, key)?)
        }
        pub(crate) fn memory_put(
            &mut self,
            namespace: &str,
            write: &wire::Write,
        ) -> Result<u64, Error> {
            Ok(memory::put(namespace, write)?)
        }
        pub(crate) fn memory_delete(&mut self, namespace: &str, key: &str) -> Result<bool, Error> {
            Ok(memory::delete(namespace, key)?)
        }
        pub(crate) fn memory_list(
            &mut self,
            namespace: &str,
            prefix: &str,
            after: Option<&str>,
            limit: u32,
        ) -> Result<Vec<String>, Error> {
            Ok(memory::list(namespace, prefix, after, limit)?)
        }
        pub(crate) fn memory_versions(
            &mut self,
            namespace: &str,
            key: &str,
            limit: u32,
        ) -> Result<Vec<wire::Entry>, Error> {
            Ok(memory::versions(namespace, key, limit)?)
        }
        pub(crate) fn memory_search(
            &mut self,
            namespace: &str,
            query: &wire::Query,
        ) -> Result<(Vec<wire::Hit>, wire::Method), Error> {
            Ok(memory::search(namespace, query)?)
        }
        pub(crate) fn memory_relate(
            &mut self,
            namespace: &str,
            relation: &wire::Relation,
        ) -> Result<(), Error> {
            Ok(memory::relate(namespace, relation)?)
        }
        pub(crate) fn memory_neighbours(
            &mut self,
            namespace: &str,
            key: &str,
            limit: u32,
        ) -> Result<Vec<wire::Relation>, Error> {
            Ok(memory::neighbours(namespace, key, limit)?)
        }
        pub(crate) fn memory_paths(
            &mut self,
            namespace: &str,
            from_key: &str,
            to_key: &str,
        ) -> Result<Vec<Vec<wire::Relation>>, Error> {
            Ok(memory::paths(namespace, from_key, to_key)?)
        }
        pub(crate) fn variables(&mut self) -> Vec<Summary> {
            wit::variables::variables::index()
        }
        pub(crate) fn variable(
            &mut self,
            name: &str,
            version: Option<u64>,
        ) -> Result<String, Error> {
            Ok(wit::variables::variables::get(name, version)?)
        }
        pub(crate) fn set_variable(&mut self, name: &str, value: &str) -> Result<u64, Error> {
            Ok(wit::variables::variables::set(name, value)?)
        }
        pub(crate) fn recent(&mut self, limit: u32) -> Vec<Said> {
            wit::conversation::conversation::recent(limit)
        }
        pub(crate) fn summary(&mut self) -> Option<(String, u64)> {
            wit::conversation::conversation::summary()
        }
        pub(crate) fn set_summary(&mut self, text: &str, through_turn: u64) -> Result<(), Error> {
            Ok(wit::conversation::conversation::set_summary(text, through_turn)?)
        }
        pub(crate) fn reply_text(&mut self, delta: &str) {
            wit::reply::reply::text(delta);
        }
        pub(crate) fn reply_thinking(&mut self, delta: &str) {
            wit::reply::reply::thinking(delta);
        }
        pub(crate) fn reply_phase(&mut self, name: &str, message: Option<&str>) {
            wit::reply::reply::phase(name, message);
        }
        pub(crate) fn approve(&mut self, action: &str, details: &str) -> Result<(), Error> {
            Ok(wit::approval::approval::ask(action, details)?)
        }
        pub(crate) fn elicit(&mut self, message: &str, schema: &str) -> Result<elicit::Raw, Error> {
            Ok(wit::elicit::elicit::ask(message, schema)?)
        }
        pub(crate) fn secret_exists(&mut self, name: &str) -> bool {
            wit::secrets::secrets::exists(name)
        }
        pub(crate) fn emit(&mut self, kind: &str, payload: &str) -> Result<(), Error> {
            Ok(wit::events::events::emit(kind, payload)?)
        }
        pub(crate) fn wake_at(&mut self, time_unix_ms: u64) -> Result<(), Error> {
            Ok(wit::events::events::wake_at(time_unix_ms)?)
        }
        pub(crate) fn budget(&mut self) -> Remaining {
            wit::budget::budget::left()
        }
        pub(crate) fn iteration(&mut self) -> Remaining {
            wit::budget::budget::iteration()
        }
    }
}
