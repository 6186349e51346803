//! What a turn begins with: its first event, the seed of its random numbers, its parameters.

use foreshore_domain::agent::AgentPolicy;
use foreshore_domain::conversation::{Seed, TurnSettings, TurnStarted};
use foreshore_domain::id::TurnId;
use foreshore_domain::memory::JsonText;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::agents::AgentComponent;
use super::request::name;

/// The largest parameters of a turn.
const PARAMETERS_MAX_BYTES: usize = 16 << 10;

/// The first event of a turn.
pub(super) fn started(
    turn: TurnId,
    component: &dyn AgentComponent,
    settings: TurnSettings,
    now_unix_ms: u64,
) -> TurnStarted {
    TurnStarted {
        turn,
        component: name(&component.reference().to_string()),
        digest: name(&component.digest().to_string()),
        seed: Seed::from_bytes(seed()),
        began_at_unix_ms: now_unix_ms,
        settings,
    }
}

/// What no agent can foresee, out of the system's randomness: two fresh random identifiers,
/// hashed.
fn seed() -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for _ in 0..4 {
        hasher.update(uuid::Uuid::new_v4().as_bytes());
    }
    hasher.finalize().into()
}

/// A turn's parameters: those of the caller, and the configuration's for the rest.
///
/// # Errors
/// JSON Pointer to the part at fault, and what is wrong with it.
pub(super) fn parameters(
    policy: &AgentPolicy,
    component: &dyn AgentComponent,
    given: Option<&str>,
) -> Result<Option<JsonText>, (String, String)> {
    let whole = |message: String| (String::new(), message);
    let mut object: Map<String, Value> = match given {
        None => Map::new(),
        Some(json) => match serde_json::from_str(json) {
            Ok(Value::Object(object)) => object,
            Ok(_) => return Err(whole("the parameters are not a JSON object".to_owned())),
            Err(error) => return Err(whole(error.to_string())),
        },
    };
    for (key, default) in &policy.parameters {
        if !object.contains_key(key) {
            let value = serde_json::from_str(default.get());
            object.insert(key.clone(), value.map_err(|error| whole(error.to_string()))?);
        }
    }
    if object.is_empty() && given.is_none() {
        return Ok(None);
    }
    let value = Value::Object(object);
    component.check_parameters(&value)?;
    let json = value.to_string();
    if json.len() > PARAMETERS_MAX_BYTES {
        let message = format!("{} bytes of parameters; at most {PARAMETERS_MAX_BYTES}", json.len());
        return Err(whole(message));
    }
    JsonText::parse(json).map(Some).map_err(|error| whole(error.to_string()))
}

pub(super) fn raw(json: &JsonText) -> Option<Box<RawValue>> {
    RawValue::from_string(json.as_str().to_owned()).ok()
}
