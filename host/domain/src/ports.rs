//! The one upward call.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::call::CallContext;
use crate::effect::{Effect, EffectError, EffectOutcome};

/// A future that is sent about and not named.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The door: every effect of every guest goes through here (the field's term is *reference
/// monitor*). `runtime` calls it for each host import; `control` implements it.
pub trait Effects: Send + Sync + 'static {
    /// Decide on an effect, perform it, record it.
    ///
    /// # Errors
    /// [`EffectError`]; a denial has been added to `call.denials` by then.
    fn perform<'a>(
        &'a self,
        call: &'a Arc<CallContext>,
        effect: Effect,
    ) -> BoxFuture<'a, Result<EffectOutcome, EffectError>>;

    /// Effects that nobody waits for: [`Effect::Progress`] and [`Effect::Log`]. Never blocks.
    fn note(&self, call: &CallContext, effect: Effect);
}
