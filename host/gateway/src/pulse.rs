//! How a connection is doing: its phase, the orders it has from the server, and the watch that
//! notices when a phase takes too long.
//!
//! The watch looks a few times per time limit instead of starting a timer per request, so a
//! request costs a few relaxed stores. A limit is thus kept to within two looks, late and never
//! early. The invariant: every phase has a time limit, so no peer holds a connection for ever.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::Waker;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::{EdgeLimits, duration};

/// What a connection does right now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Accepted; nothing was received yet.
    Fresh,
    /// Part of a head was received.
    Head,
    /// The head was received; the body is awaited.
    Body,
    /// The request is worked on, or its answer streamed.
    Work,
    /// An answer was given; the next request is awaited.
    Idle,
}

impl Phase {
    const ALL: [Self; 5] = [Self::Fresh, Self::Head, Self::Body, Self::Work, Self::Idle];

    fn number(self) -> u64 {
        match self {
            Self::Fresh => 0,
            Self::Head => 1,
            Self::Body => 2,
            Self::Work => 3,
            Self::Idle => 4,
        }
    }

    fn limit(self, limits: &EdgeLimits) -> Duration {
        duration(match self {
            Self::Fresh | Self::Head => limits.header_timeout_ms,
            Self::Body => limits.body_timeout_ms,
            Self::Work => limits.request_timeout_ms,
            Self::Idle => limits.idle_timeout_ms,
        })
    }

    /// Whether a request would be lost if the connection closed now.
    fn is_quiet(self) -> bool {
        matches!(self, Self::Fresh | Self::Idle)
    }
}

/// What the server ordered, seen from the connection.
pub(crate) enum Orders {
    Stay,
    Leave,
    CloseNow,
}

const CLOSE_WHEN_QUIET: u8 = 1;
const MAKE_ROOM: u8 = 2;
const CLOSE_NOW: u8 = 4;

/// The state of a connection that its parts share. All of them run in one task but for the
/// server, which gives orders; so no order of memory but `Relaxed` is needed.
pub(crate) struct Pulse {
    /// Phase in the low three bits, number of changes above.
    beat: AtomicU64,
    /// The time limit of this phase has passed and the request is to be given up.
    expired: AtomicBool,
    /// The client may still be sending what nobody will read.
    unread: AtomicBool,
    orders: AtomicU8,
    /// Of the connection's task; the same for its whole life.
    waker: OnceLock<Waker>,
}

impl Pulse {
    pub(crate) fn new() -> Self {
        Self {
            beat: AtomicU64::new(Phase::Fresh.number()),
            expired: AtomicBool::new(false),
            unread: AtomicBool::new(false),
            orders: AtomicU8::new(0),
            waker: OnceLock::new(),
        }
    }

    /// Says whom an order wakes: the task of the connection, which never changes.
    pub(crate) fn wakes(&self, waker: &Waker) {
        self.waker.get_or_init(|| waker.clone());
    }

    /// Enters a phase.
    pub(crate) fn enter(&self, phase: Phase) {
        let turns = self.beat.load(Ordering::Relaxed) >> 3;
        self.beat.store(((turns + 1) << 3) | phase.number(), Ordering::Relaxed);
    }

    fn phase(&self) -> Phase {
        let number = self.beat.load(Ordering::Relaxed) & 7;
        Phase::ALL.into_iter().find(|phase| phase.number() == number).unwrap_or(Phase::Work)
    }

    /// The phase whose time limit has passed, once it has.
    pub(crate) fn expired(&self) -> Option<Phase> {
        self.expired.load(Ordering::Relaxed).then(|| self.phase())
    }

    /// A head has arrived; whether a body follows it.
    pub(crate) fn begin_request(&self, has_body: bool) {
        self.expired.store(false, Ordering::Relaxed);
        self.unread.store(has_body, Ordering::Relaxed);
        self.enter(Phase::Work);
    }

    /// All of the body has been read.
    pub(crate) fn body_read(&self) {
        self.unread.store(false, Ordering::Relaxed);
        self.enter(Phase::Work);
    }

    /// Whether the client may still be sending what nobody will read.
    pub(crate) fn is_unread(&self) -> bool {
        self.unread.load(Ordering::Relaxed)
    }

    /// Bytes came in.
    pub(crate) fn received(&self) {
        if self.phase().is_quiet() {
            self.enter(Phase::Head);
        }
    }

    /// What the server wants of it. That room is wanted is said once.
    pub(crate) fn orders(&self, look: &Look) -> Orders {
        let orders = self.orders.load(Ordering::Relaxed);
        if orders == 0 {
            return Orders::Stay;
        }
        self.orders.fetch_and(!MAKE_ROOM, Ordering::Relaxed);
        if orders & CLOSE_NOW != 0 {
            return Orders::CloseNow;
        }
        let room = orders & MAKE_ROOM != 0 && self.phase().is_quiet() && look.is_still(self);
        if orders & CLOSE_WHEN_QUIET != 0 || room { Orders::Leave } else { Orders::Stay }
    }

    fn order(&self, order: u8) {
        self.orders.fetch_or(order, Ordering::Relaxed);
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }

    /// Close as soon as no request is lost by it.
    pub(crate) fn close_when_quiet(&self) {
        self.order(CLOSE_WHEN_QUIET);
    }

    /// Close if nothing happens here; others wait to be accepted.
    pub(crate) fn make_room(&self) {
        self.order(MAKE_ROOM);
    }

    /// Close at once.
    pub(crate) fn close_now(&self) {
        self.order(CLOSE_NOW);
    }
}

/// From giving up a request to cutting off a peer that does not take the answer.
const GRACE: Duration = Duration::from_secs(2);

/// How often the watch looks: four times per time limit, at least once a second.
pub(crate) fn look_interval(limits: &EdgeLimits) -> Duration {
    let shortest = Phase::ALL.into_iter().map(|phase| phase.limit(limits)).min();
    (shortest.unwrap_or_default() / 4).clamp(Duration::from_millis(5), Duration::from_secs(1))
}

/// What the watch makes of what it saw.
pub(crate) enum Verdict {
    Fine,
    Expired,
    Dead,
}

/// What the watch saw when it last looked.
pub(crate) struct Look {
    beat: u64,
    since: Instant,
    looks: u32,
}

impl Look {
    pub(crate) fn new(pulse: &Pulse) -> Self {
        Self { beat: pulse.beat.load(Ordering::Relaxed), since: Instant::now(), looks: 0 }
    }

    /// Whether the connection is as it was at an earlier look.
    fn is_still(&self, pulse: &Pulse) -> bool {
        self.looks > 0 && self.beat == pulse.beat.load(Ordering::Relaxed)
    }

    /// Looks. Once a request has expired, its answer is to say so.
    pub(crate) fn again(&mut self, pulse: &Pulse, limits: &EdgeLimits) -> Verdict {
        if self.beat != pulse.beat.load(Ordering::Relaxed) {
            *self = Self::new(pulse);
        }
        self.looks += 1;
        let phase = pulse.phase();
        let limit = phase.limit(limits);
        let age = self.since.elapsed();
        match phase {
            _ if age < limit => Verdict::Fine,
            Phase::Body | Phase::Work if age < limit + GRACE => {
                pulse.expired.store(true, Ordering::Relaxed);
                Verdict::Expired
            }
            _ => Verdict::Dead,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> EdgeLimits {
        EdgeLimits::default()
    }

    async fn after(time: Duration, look: &mut Look, pulse: &Pulse) -> Verdict {
        tokio::time::advance(time).await;
        look.again(pulse, &limits())
    }

    #[tokio::test(start_paused = true)]
    async fn every_phase_ends() {
        for phase in Phase::ALL {
            let pulse = Pulse::new();
            pulse.enter(phase);
            let mut look = Look::new(&pulse);
            let limit = phase.limit(&limits());
            let just_before = after(limit - Duration::from_millis(1), &mut look, &pulse).await;
            assert!(matches!(just_before, Verdict::Fine), "{phase:?}");
            let then = after(Duration::from_millis(1), &mut look, &pulse).await;
            let is_request = matches!(phase, Phase::Body | Phase::Work);
            assert_eq!(matches!(then, Verdict::Expired), is_request, "{phase:?}");
            assert_eq!(pulse.expired(), is_request.then_some(phase));
            let in_the_end = after(GRACE, &mut look, &pulse).await;
            assert!(matches!(in_the_end, Verdict::Dead), "{phase:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_of_phase_starts_its_time_anew() {
        let pulse = Pulse::new();
        let mut look = Look::new(&pulse);
        for _ in 0..100 {
            let verdict = after(Duration::from_secs(9), &mut look, &pulse).await;
            assert!(matches!(verdict, Verdict::Fine));
            pulse.begin_request(false);
            pulse.enter(Phase::Idle);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn room_is_made_by_the_quiet_alone_and_only_when_asked() {
        let pulse = Pulse::new();
        let mut look = Look::new(&pulse);
        pulse.make_room();
        assert!(matches!(pulse.orders(&look), Orders::Stay), "it may just have come");
        look.again(&pulse, &limits());
        assert!(matches!(pulse.orders(&look), Orders::Stay), "nobody asks any more");
        pulse.make_room();
        assert!(matches!(pulse.orders(&look), Orders::Leave));
        pulse.begin_request(false);
        look.again(&pulse, &limits());
        pulse.make_room();
        assert!(matches!(pulse.orders(&look), Orders::Stay), "it works");
    }
}
