//! Tools and agents as they are in the registry: the real side of both seams.

use std::sync::Arc;

use bytes::Bytes;
use foreshore_domain::agent::{AgentDefinition, Turn};
use foreshore_domain::call::{CallContext, CallError};
use foreshore_domain::component::{ComponentRef, ToolName};
use foreshore_domain::effect::AgentTool;
use foreshore_domain::id::Digest;
use foreshore_domain::limits::Limits;
use foreshore_domain::outcome::ToolResult;
use foreshore_domain::ports::BoxFuture;
use foreshore_runtime::{Component, TurnFailure};

use super::agents::{AgentComponent, Agents, Ran, Stopped};
use super::tools::{ToolCall, ToolFacts, Tools};
use crate::admission::Admission;
use crate::components::Components;
use crate::invoke::{Invocation, Invoker};

/// The registry's components, called by the one path to a guest.
pub(crate) struct Registered {
    pub(crate) components: Arc<Components>,
    pub(crate) invoker: Arc<Invoker>,
    pub(crate) admission: Arc<Admission>,
}

impl Tools for Registered {
    fn list(&self) -> Vec<(ToolName, AgentTool)> {
        let snapshot = self.components.registry().snapshot();
        let mut tools: Vec<(ToolName, AgentTool)> = Vec::new();
        for component in snapshot.components() {
            for tool in component.tools() {
                let (name, definition) = (&tool.name, &tool.definition);
                let Ok(name) = format!("{}.{name}", component.reference().name).parse::<ToolName>()
                else {
                    continue;
                };
                let listed = AgentTool {
                    name: name.to_string(),
                    description: definition.description.clone(),
                    input_schema: definition.input_schema.to_string(),
                    read_only: definition.hints.read_only,
                    destructive: definition.hints.destructive,
                    idempotent: definition.hints.idempotent,
                    open_world: definition.hints.open_world,
                    needs_approval: false,
                };
                // Versions come in order; the highest is the one that is called by this name.
                match tools.iter_mut().find(|(known, _)| *known == name) {
                    Some(known) => known.1 = listed,
                    None => tools.push((name, listed)),
                }
            }
        }
        tools
    }

    fn find(&self, tool: &ToolName) -> Result<ToolFacts, CallError> {
        let snapshot = self.components.registry().snapshot();
        match snapshot.find(tool) {
            Ok(found) => Ok(ToolFacts {
                component: found.component().reference().clone(),
                digest: found.component().digest(),
                tool: Arc::clone(&found.tool().name),
                hints: found.tool().definition.hints,
                grant: Arc::clone(&found.component().policy().grant),
            }),
            Err(not_found) => Err(Invoker::not_found(tool, not_found)),
        }
    }

    fn call(&self, call: ToolCall) -> BoxFuture<'static, Result<ToolResult, CallError>> {
        let (invoker, admission) = (Arc::clone(&self.invoker), Arc::clone(&self.admission));
        let components = Arc::clone(&self.components);
        Box::pin(async move {
            let permit = admission.admit().await?;
            let ToolCall { call_id, tool, arguments, caller, approval, principal, beside } = call;
            let invocation =
                Invocation { principal, approval, ..Invocation::new(tool, Bytes::from(arguments)) };
            let snapshot = components.registry().snapshot();
            let outcome =
                invoker.invoke_as(permit, &snapshot, invocation, call_id, caller, beside).await;
            outcome.map(|outcome| outcome.result).map_err(|failure| failure.error)
        })
    }
}

impl Agents for Registered {
    fn find(&self, component: &str) -> Result<Arc<dyn AgentComponent>, String> {
        let snapshot = self.components.registry().snapshot();
        let found = snapshot.find_agent(component).map(|(component, _)| component.clone());
        match found {
            Some(component) => Ok(Arc::new(RegisteredAgent { component })),
            None => Err(match snapshot.component(component, None) {
                Some(_) => format!("component \"{component}\" is loaded, and is no agent"),
                None => format!("component \"{component}\" is not loaded"),
            }),
        }
    }
}

/// A component that is not served, as an agent.
///
/// # Errors
/// It is none.
pub(crate) fn agent(component: Component) -> Result<Arc<dyn AgentComponent>, String> {
    match component.agent() {
        Some(_) => Ok(Arc::new(RegisteredAgent { component })),
        None => Err(format!("component {} is no agent", component.reference())),
    }
}

/// An agent's component, held for a run.
struct RegisteredAgent {
    component: Component,
}

impl AgentComponent for RegisteredAgent {
    fn reference(&self) -> &ComponentRef {
        self.component.reference()
    }

    fn digest(&self) -> Digest {
        self.component.digest()
    }

    fn definition(&self) -> Option<&AgentDefinition> {
        self.component.agent().map(|agent| &agent.definition)
    }

    fn limits(&self) -> Limits {
        self.component.policy().limits
    }

    fn check_parameters(&self, parameters: &serde_json::Value) -> Result<(), (String, String)> {
        let Some(agent) = self.component.agent() else { return Ok(()) };
        agent
            .check_parameters(parameters)
            .map_err(|violation| (violation.pointer, violation.message))
    }

    fn run(&self, context: Arc<CallContext>, turn: Turn) -> BoxFuture<'static, Ran> {
        let component = self.component.clone();
        Box::pin(async move {
            let report = component.run_turn(context, turn).await;
            let result = report.result.map_err(|failure| match failure {
                TurnFailure::Agent(error) => Stopped::Agent(error),
                TurnFailure::Call(error) => Stopped::Call(error),
                failure => Stopped::Call(CallError::Host { message: failure.to_string() }),
            });
            Ran { result, fuel: report.usage.fuel }
        })
    }
}
