//! `foreshore:inference`: models, brokered by the host.
//!
//! Which models an agent may ask, what it may spend and who answers is the door's business.
//! Several requests at once are one effect, so that they are recorded together.

use foreshore_domain::effect::{AgentEffect, AgentOutcome};
use foreshore_domain::inference::{EmbedRequest, Model};
use wasmtime::Result;
use wasmtime::component::{HasSelf, Linker};

use super::fault;
use super::messages::{completion_to_guest, message_bytes, request, request_bytes};
use crate::bindings::agents::inference;
use crate::capability::told::{Answer, agent_error, invalid};
use crate::state::State;

/// As the interface says.
const REQUESTS_MAX: usize = 8;

pub(crate) fn link(linker: &mut Linker<State>) -> Result<()> {
    inference::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

impl inference::Host for State {
    async fn chat(
        &mut self,
        messages: Vec<inference::Message>,
        config: inference::Config,
    ) -> Result<Answer<inference::Completion>> {
        let scope = &self.scope;
        scope.takes(request_bytes(&messages, &config)).await?;
        let stream_to_reply = config.stream_to_reply;
        let request = match request(messages, config) {
            Ok(request) => request,
            Err(error) => return Ok(Err(error)),
        };
        let effect = AgentEffect::Infer { request, stream_to_reply };
        let inferred = scope.ask(effect, |outcome| match outcome {
            AgentOutcome::Inferred(completion) => Some(completion),
            _ => None,
        });
        Ok(inferred.await?.and_then(|completion| {
            let bytes = message_bytes(&completion.message);
            scope.bounded(completion_to_guest(completion), bytes)
        }))
    }

    async fn chat_all(
        &mut self,
        requests: Vec<inference::Request>,
    ) -> Result<Vec<Answer<inference::Completion>>> {
        let scope = &self.scope;
        let asked = requests.len();
        let sizes = requests.iter().map(|one| request_bytes(&one.messages, &one.config));
        scope.takes(sizes.sum()).await?;
        let streams = requests.iter().any(|request| request.config.stream_to_reply);
        if asked > REQUESTS_MAX || streams {
            let message =
                format!("it takes at most {REQUESTS_MAX} requests, none with stream-to-reply");
            return Ok(vec![Err(invalid("/requests", message)); asked]);
        }
        // One that is malformed does not stop the others, and is none of the effect.
        let (mut answers, mut asking) = (Vec::with_capacity(asked), Vec::with_capacity(asked));
        for one in requests {
            match request(one.messages, one.config) {
                Ok(request) => {
                    asking.push(request);
                    answers.push(None);
                }
                Err(error) => answers.push(Some(Err(error))),
            }
        }
        if asking.is_empty() {
            return Ok(answers.into_iter().flatten().collect());
        }
        let expected = asking.len();
        let effect = AgentEffect::InferAll(asking);
        let inferred = scope.ask(effect, |outcome| match outcome {
            AgentOutcome::InferredAll(all) if all.len() == expected => Some(all),
            _ => None,
        });
        let inferred = match inferred.await? {
            Ok(inferred) => inferred,
            Err(error) => {
                let answers = answers.into_iter();
                return Ok(answers.map(|known| known.unwrap_or(Err(error.clone()))).collect());
            }
        };
        let bytes = inferred.iter().flatten().map(|one| message_bytes(&one.message)).sum();
        let mut inferred = inferred.into_iter();
        let filled = answers.into_iter().filter_map(|known| {
            known.or_else(|| {
                let one = inferred.next()?;
                Some(one.map(completion_to_guest).map_err(agent_error))
            })
        });
        let filled: Vec<_> = filled.collect();
        Ok(match scope.bounded((), bytes) {
            Ok(()) => filled,
            Err(error) => vec![Err(error); asked],
        })
    }

    async fn embed(
        &mut self,
        model: Option<String>,
        texts: Vec<String>,
    ) -> Result<Answer<Vec<Vec<f32>>>> {
        let scope = &self.scope;
        let (asked, bytes) = (texts.len(), texts.iter().map(String::len).sum::<usize>());
        scope.takes(bytes + model.as_ref().map_or(0, String::len)).await?;
        let effect = AgentEffect::Embed(EmbedRequest { model, texts, dimensions: None });
        let embedded = scope.ask(effect, |outcome| match outcome {
            AgentOutcome::Embedded(embeddings) => Some(embeddings.vectors),
            _ => None,
        });
        let vectors = match embedded.await? {
            Ok(vectors) => vectors,
            Err(error) => return Ok(Err(error)),
        };
        if vectors.len() != asked {
            return Err(fault("embed", "there are not as many vectors as texts"));
        }
        let numbers: usize = vectors.iter().map(Vec::len).sum();
        Ok(scope.bounded(vectors, numbers.saturating_mul(size_of::<f32>())))
    }

    async fn models(&mut self) -> Result<Answer<Vec<inference::Model>>> {
        let scope = &self.scope;
        scope.takes(0).await?;
        let models = scope.ask(AgentEffect::Models, |outcome| match outcome {
            AgentOutcome::Models(models) => Some(models),
            _ => None,
        });
        Ok(models.await?.and_then(|models| {
            let bytes = models.iter().map(|model| model.name.len()).sum();
            scope.bounded(models.into_iter().map(model_to_guest).collect(), bytes)
        }))
    }
}

fn model_to_guest(model: Model) -> inference::Model {
    inference::Model {
        name: model.name,
        context_length: model.context_length,
        tools: model.tools,
        vision: model.vision,
        thinking: model.thinking,
        embedding: model.embedding,
    }
}
