//! Every limit of a call, in one struct.
//!
//! The invariant: **no guest call without all of them.** `Limits` has no `Option`, each limit
//! is non-zero by type, and the table below is the only place that knows their names, so the
//! configuration, `/v1/limits` and the tests cannot drift apart.

use std::num::NonZeroU64;
use std::time::Duration;

/// A limit's value: whole and never zero.
pub type Limit = NonZeroU64;

macro_rules! limits {
    ($($(#[doc = $doc:literal])+ $name:ident: $unit:literal = $default:expr, at_most $ceiling:expr;)+) => {
        /// What one call may use. See the module.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct Limits {
            $($(#[doc = $doc])+ pub $name: Limit,)+
        }

        /// The limits an operator or a caller changes; what is `None` stays as it was.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct LimitsPatch {
            $($(#[doc = $doc])+ pub $name: Option<u64>,)+
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($name: const { non_zero($default) },)+ }
            }
        }

        impl Limits {
            /// Every limit with its unit and meaning, in the order of declaration.
            pub fn table(&self) -> Vec<LimitRow> {
                vec![$(LimitRow {
                    name: stringify!($name),
                    unit: $unit,
                    value: self.$name.get(),
                    default: $default,
                    ceiling: $ceiling,
                    description: concat!($($doc,)+).trim(),
                },)+]
            }

            /// These limits with the patch's values in place.
            ///
            /// # Errors
            /// A value of zero, or one above its ceiling.
            pub fn with(mut self, patch: &LimitsPatch) -> Result<Self, LimitError> {
                $(if let Some(value) = patch.$name {
                    self.$name = checked(stringify!($name), value, $ceiling)?;
                })+
                Ok(self)
            }

            /// These limits, lowered to the patch's values where those are lower. A caller may
            /// ask for less than the operator allows, never for more.
            ///
            /// # Errors
            /// A value of zero.
            pub fn lowered(mut self, patch: &LimitsPatch) -> Result<Self, LimitError> {
                $(if let Some(value) = patch.$name {
                    self.$name = self.$name.min(checked(stringify!($name), value, u64::MAX)?);
                })+
                Ok(self)
            }
        }

        impl LimitsPatch {
            /// Sets one limit by its name.
            ///
            /// # Errors
            /// A name that is not a limit's.
            pub fn set(&mut self, name: &str, value: u64) -> Result<(), LimitError> {
                match name {
                    $(stringify!($name) => self.$name = Some(value),)+
                    _ => return Err(LimitError::Unknown {
                        name: name.to_owned(),
                        known: [$(stringify!($name)),+].join(", "),
                    }),
                }
                Ok(())
            }
        }
    };
}

limits! {
    /// Instructions a guest may execute, in wasmtime's fuel (about one per instruction).
    fuel: "fuel" = 2_000_000_000, at_most 1_000_000_000_000;
    /// Wall-clock time of a call, spent in the guest, waiting for the host, or queued.
    deadline_ms: "ms" = 5_000, at_most 60_000;
    /// Size of each linear memory.
    memory_max_bytes: "bytes" = 32 << 20, at_most 1 << 30;
    /// Linear memories in one call.
    memories_max: "count" = 4, at_most 32;
    /// Elements of each table.
    table_elements_max: "count" = 20_000, at_most 1_000_000;
    /// Tables in one call.
    tables_max: "count" = 16, at_most 64;
    /// Core instances in one call.
    instances_max: "count" = 32, at_most 256;
    /// Size of a result: content and structured together.
    result_max_bytes: "bytes" = 1 << 20, at_most 64 << 20;
    /// Log lines kept of a call; the rest are counted and dropped.
    log_lines_max: "count" = 256, at_most 65_536;
    /// Length of a log line; the rest is cut.
    log_line_max_bytes: "bytes" = 1 << 10, at_most 64 << 10;
    /// Bytes a guest may make the host copy or allocate in one host call.
    hostcall_max_bytes: "bytes" = 4 << 20, at_most 128 << 20;
    /// Host resources (files, streams, requests) a guest may hold at once.
    resources_max: "count" = 1_024, at_most 1_000_000;
    /// Component handles a guest may hold at once, over all of its instances.
    handles_max: "count" = 1_024, at_most 100_000;
    /// Random bytes in one request.
    random_max_bytes: "bytes" = 1 << 20, at_most 64 << 20;
    /// Size of all fields of one HTTP message.
    http_fields_max_bytes: "bytes" = 64 << 10, at_most 128 << 10;
    /// Outgoing HTTP requests of a call.
    http_requests_max: "count" = 16, at_most 10_000;
    /// Size of each HTTP response body after decompression.
    http_response_max_bytes: "bytes" = 2 << 20, at_most 1 << 30;
    /// Size of each outgoing HTTP request body.
    http_request_max_bytes: "bytes" = 1 << 20, at_most 1 << 30;
    /// Operations on streams and files in a call: bounds work that costs the host more than
    /// it costs the guest, such as writes of nothing.
    host_operations_max: "count" = 1_000_000, at_most 1_000_000_000;
}

/// One line of the table of limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitRow {
    /// The name in configuration and API.
    pub name: &'static str,
    /// `fuel`, `ms`, `bytes` or `count`.
    pub unit: &'static str,
    /// The value in force.
    pub value: u64,
    /// What it is where nobody says otherwise.
    pub default: u64,
    /// The most an operator may set.
    pub ceiling: u64,
    /// What it bounds.
    pub description: &'static str,
}

/// A limit that cannot be set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LimitError {
    /// Zero would refuse everything or, in other systems, mean "none at all".
    #[error("limit {name} = 0 is refused: a limit is at least 1")]
    Zero {
        /// The limit.
        name: &'static str,
    },
    /// Above what the host can hold to.
    #[error("limit {name} = {value} is above its ceiling of {ceiling}")]
    TooLarge {
        /// The limit.
        name: &'static str,
        /// What was asked for.
        value: u64,
        /// The most it may be.
        ceiling: u64,
    },
    /// No limit has this name.
    #[error("unknown limit \"{name}\"; the limits are {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// The names there are.
        known: String,
    },
}

impl Limits {
    /// The deadline as a duration.
    pub fn deadline(&self) -> Duration {
        Duration::from_millis(self.deadline_ms.get())
    }
}

fn checked(name: &'static str, value: u64, ceiling: u64) -> Result<Limit, LimitError> {
    let limit = Limit::new(value).ok_or(LimitError::Zero { name })?;
    if value > ceiling {
        return Err(LimitError::TooLarge { name, value, ceiling });
    }
    Ok(limit)
}

const fn non_zero(value: u64) -> Limit {
    match Limit::new(value) {
        Some(limit) => limit,
        None => panic!("a default limit is zero"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_refused_for_every_limit() {
        for row in Limits::default().table() {
            let mut patch = LimitsPatch::default();
            patch.set(row.name, 0).expect("a name from the table");
            assert_eq!(Limits::default().with(&patch), Err(LimitError::Zero { name: row.name }));
            assert_eq!(Limits::default().lowered(&patch), Err(LimitError::Zero { name: row.name }));
        }
    }

    #[test]
    fn every_limit_can_be_raised_to_its_ceiling_and_no_further() {
        for row in Limits::default().table() {
            assert!(row.default <= row.ceiling, "{}", row.name);
            let mut patch = LimitsPatch::default();
            patch.set(row.name, row.ceiling).expect("a name from the table");
            let raised = Limits::default().with(&patch).expect("the ceiling is allowed");
            assert!(raised.table().iter().any(|r| r.name == row.name && r.value == row.ceiling));
            patch.set(row.name, row.ceiling + 1).expect("a name from the table");
            assert!(matches!(Limits::default().with(&patch), Err(LimitError::TooLarge { .. })));
        }
    }

    #[test]
    fn a_caller_can_lower_but_not_raise() {
        let mut patch = LimitsPatch::default();
        patch.set("fuel", 10).expect("known");
        patch.set("deadline_ms", 1_000_000).expect("known");
        let limits = Limits::default().lowered(&patch).expect("valid");
        assert_eq!(limits.fuel.get(), 10);
        assert_eq!(limits.deadline_ms, Limits::default().deadline_ms);
    }

    #[test]
    fn an_unknown_limit_is_answered_with_the_names_there_are() {
        let error = LimitsPatch::default().set("feul", 1).expect_err("unknown");
        assert!(error.to_string().contains("fuel, deadline_ms"), "{error}");
    }
}
