//! The `{{name}}` agent: what it does with a message.
//!
//! It asks the model, runs the tools that the model wants, and shows the model what they gave,
//! until there is an answer or the budget of the turn is used up.

use foreshore_sdk::agent::inference::{Chat, Message, ToolDefinition, ToolResult};
use foreshore_sdk::agent::{Finish, Reply, Turn, budget, conversation, reply, tools};
use foreshore_sdk::{Error, Outcome, agent};
use schemars::JsonSchema;
use serde::Deserialize;

/// What a caller may set.
#[derive(Deserialize, JsonSchema)]
struct Parameters {
    /// How to behave.
    #[serde(default = "helpful")]
    instructions: String,
}

fn helpful() -> String {
    "You are a helpful assistant. Use the tools where they help, and answer briefly.".to_owned()
}

/// Answer with the help of tools. It remembers the last messages of the conversation.
#[agent(name = "{{name}}")]
fn run(turn: Turn, parameters: Parameters) -> Result<Reply, Error> {
    let recent = conversation::recent(10).into_iter().map(|said| said.message);
    let mut chat = Chat::new()
        .system(parameters.instructions)
        .messages(recent)
        .user(turn.text())
        .tools(tools::list().into_iter().map(offered))
        .stream_to_reply();

    while budget::iteration().iterations > 0 {
        let message = chat.ask()?.message;
        if message.tool_calls.is_empty() {
            return Ok(message.text().into());
        }
        let names: Vec<&str> = message.tool_calls.iter().map(|call| call.name.as_str()).collect();
        reply::phase("calling tools", Some(&names.join(", ")));
        let results = results(&message);
        chat = chat.message(message).messages(results);
    }
    Ok(Reply::new("I could not finish in the number of steps I have.").finished(Finish::Budget))
}

/// The tool as the model is told of it. Many models take no dot in a name.
fn offered(tool: tools::Available) -> ToolDefinition {
    ToolDefinition {
        name: tool.name.replace('.', "__"),
        description: Some(tool.description),
        parameters_schema: tool.input_schema,
    }
}

/// Runs the tools that the model asks for, all at once. What one fails with is shown to the model,
/// which may try another way.
fn results(message: &Message) -> Vec<Message> {
    let wanted = &message.tool_calls;
    let calls: Vec<tools::Call> = wanted
        .iter()
        .map(|call| tools::Call {
            name: call.name.replace("__", "."),
            arguments: call.arguments_json.clone(),
        })
        .collect();
    let told = |result: Result<Outcome, Error>| match result {
        Ok(outcome) => (outcome.to_text(), outcome.is_error),
        Err(error) => (error.to_string(), true),
    };
    wanted
        .iter()
        .zip(tools::call_all(&calls))
        .map(|(call, result)| {
            let (content, is_error) = told(result);
            let (id, name) = (call.id.clone(), call.name.clone());
            Message::tool(ToolResult { id, name, content, is_error })
        })
        .collect()
}

foreshore_sdk::export_agent!(run);

#[cfg(test)]
mod tests {
    use foreshore_sdk::agent::ToolCall;
    use foreshore_sdk::agent::testing::Scripted;

    use super::*;

    #[test]
    fn the_model_sees_what_a_tool_gave() {
        let mut host = Scripted::new();
        host.tool("files.read", |_| Ok(Outcome::text("High water is at noon.")));
        host.model(|request| match request.messages.last() {
            Some(last) if last.tool_result.is_some() => Ok(last.text().into()),
            _ => Ok(vec![ToolCall {
                id: "1".to_owned(),
                name: "files__read".to_owned(),
                arguments_json: r#"{"path":"/tides.txt"}"#.to_owned(),
            }]
            .into()),
        });
        let reply = host.turn::<run>("When is high water?").expect("a reply");
        assert_eq!(reply.text(), "High water is at noon.");
        assert_eq!(host.calls[0].name, "files.read");
    }
}
