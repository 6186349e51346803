//! What an operator can set at the HTTP edge.
//!
//! The table of limits is the only place that knows their names, so configuration,
//! `/v1/limits` and tests cannot drift apart. Zero is refused by type: it would refuse
//! everything or, in other servers, mean "none at all".

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::auth::AuthConfig;
use crate::guard::Authority;
use crate::tls::Certificates;

/// The `[server]` section.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatewayConfig {
    /// Names under which clients reach this host, besides loopback names and the address they
    /// connect to: `foreshore.example.org`. Any other `Host` is refused, so that a web page
    /// cannot reach a local server through a name of its own (DNS rebinding).
    pub hosts: Vec<String>,
    /// Origins of web pages that may change things here: `https://console.example.org`.
    pub origins: Vec<String>,
    /// What a connection may use.
    pub limits: EdgeLimits,
    /// How often a client may ask.
    pub rates: EdgeRates,
    /// Networks of proxies whose word counts for where a request comes from
    /// (`X-Forwarded-For`, `X-Forwarded-Proto`). Anybody else's is not looked at.
    #[serde(skip)]
    pub trusted_proxies: Vec<IpNet>,
    /// The certificate to speak TLS with; without, it is plain HTTP.
    #[serde(skip)]
    pub tls: Option<Arc<Certificates>>,
    /// Who is let in.
    #[serde(skip)]
    pub auth: AuthConfig,
}

impl GatewayConfig {
    /// # Errors
    /// A limit above its ceiling, or a host or origin that cannot be one.
    pub fn checked(self) -> Result<Self, ConfigError> {
        let limits = self.limits.table().into_iter().map(|row| ("limits", row));
        let rates = self.rates.table().into_iter().map(|row| ("rates", row));
        for (section, row) in limits.chain(rates) {
            if row.value > row.ceiling {
                let EdgeLimitRow { name, value, ceiling, .. } = row;
                return Err(ConfigError::TooLarge { section, name, value, ceiling });
            }
        }
        for host in &self.hosts {
            if Authority::parse(host).is_none_or(|authority| authority.port.is_some()) {
                return Err(ConfigError::Host { text: host.clone() });
            }
        }
        for origin in &self.origins {
            let authority = origin.strip_prefix("https://").or(origin.strip_prefix("http://"));
            if authority.and_then(Authority::parse).is_none() {
                return Err(ConfigError::Origin { text: origin.clone() });
            }
        }
        Ok(self)
    }
}

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Above what the host can hold to.
    #[error("server.{section}.{name} = {value} is above its ceiling of {ceiling}")]
    TooLarge {
        /// `limits` or `rates`.
        section: &'static str,
        /// The limit.
        name: &'static str,
        /// What was asked for.
        value: u64,
        /// The most it may be.
        ceiling: u64,
    },
    /// Not a name.
    #[error(
        "server.hosts: \"{text}\" is no host: write a name or an address without scheme and port, such as foreshore.example.org"
    )]
    Host {
        /// What was given.
        text: String,
    },
    /// Not an origin.
    #[error(
        "server.origins: \"{text}\" is no origin: write scheme and host, such as https://console.example.org"
    )]
    Origin {
        /// What was given.
        text: String,
    },
}

macro_rules! edge_limits {
    ($(#[doc = $about:literal])+ $table:ident {
        $($(#[doc = $doc:literal])+ $name:ident: $unit:literal = $default:expr, at_most $ceiling:expr;)+
    }) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $table {
            $($(#[doc = $doc])+ pub $name: NonZeroU64,)+
        }

        impl Default for $table {
            fn default() -> Self {
                Self { $($name: const { NonZeroU64::new($default).expect("a default limit is zero") },)+ }
            }
        }

        impl $table {
            /// Every limit with its unit and meaning, in the order of declaration.
            pub fn table(&self) -> Vec<EdgeLimitRow> {
                vec![$(EdgeLimitRow {
                    name: stringify!($name),
                    unit: $unit,
                    value: self.$name.get(),
                    default: $default,
                    ceiling: $ceiling,
                    description: concat!($($doc,)+).trim(),
                },)+]
            }
        }
    };
}

edge_limits! {
    /// What a connection and a request may use. Each is at least 1.
    EdgeLimits {
        /// Connections open at once; the next one waits to be accepted, and idle ones make room.
        connections_max: "count" = 1_024, at_most 65_536;
        /// Header fields of a request.
        headers_max: "count" = 64, at_most 96;
        /// Size of a request's head: request line and header fields together.
        head_max_bytes: "bytes" = 16 << 10, at_most 128 << 10;
        /// Length of a request's target: path and query.
        target_max_bytes: "bytes" = 2 << 10, at_most 32 << 10;
        /// Size of a request's body.
        body_max_bytes: "bytes" = 1 << 20, at_most 64 << 20;
        /// Size of a component that is uploaded.
        component_max_bytes: "bytes" = 8 << 20, at_most 64 << 20;
        /// Components that may be uploaded at once.
        uploads_max: "count" = 4, at_most 64;
        /// Time from the first byte of a request, or from connecting, to the end of its header.
        header_timeout_ms: "ms" = 10_000, at_most 120_000;
        /// Time for a handshake of TLS.
        handshake_timeout_ms: "ms" = 5_000, at_most 60_000;
        /// Handshakes of TLS under way at once, from the client's first word on.
        handshakes_max: "count" = 128, at_most 4_096;
        /// Time from the end of the header to the end of the body.
        body_timeout_ms: "ms" = 10_000, at_most 600_000;
        /// Bodies that may arrive slowly at once. A call gives its place back while it waits for one.
        slow_bodies_max: "count" = 64, at_most 1_024;
        /// Arrays and objects within each other in a body of JSON.
        json_depth_max: "count" = 32, at_most 100;
        /// Time from the end of the header to the end of the response.
        request_timeout_ms: "ms" = 120_000, at_most 3_600_000;
        /// Time from one response to the next request; the client's taking of the response counts.
        idle_timeout_ms: "ms" = 60_000, at_most 3_600_000;
        /// After the stop signal: how long idle connections may still bring a request.
        drain_linger_ms: "ms" = 250, at_most 60_000;
        /// After the stop signal: how long requests in flight may take to finish.
        drain_patience_ms: "ms" = 30_000, at_most 3_600_000;
    }
}

edge_limits! {
    /// How often a client may ask. Each is at least 1. Addresses of this machine and of trusted
    /// proxies have no limits per address: behind them is everybody.
    EdgeRates {
        /// Requests a second of one principal, on and on.
        per_principal_per_s: "per_s" = 5_000, at_most 1_000_000;
        /// Requests a second from one address, on and on.
        per_address_per_s: "per_s" = 5_000, at_most 1_000_000;
        /// Requests of one principal or address that may come at once, before its rate holds.
        burst: "count" = 10_000, at_most 1_000_000;
        /// Requests of one principal at work at once, answers that are streamed included.
        concurrent_per_principal: "count" = 512, at_most 65_536;
        /// Credentials from one address in a minute that do not count; then it is not heard.
        failed_auth_per_min: "per_min" = 60, at_most 100_000;
        /// Connections of one address open at once.
        connections_per_address: "count" = 256, at_most 65_536;
    }
}

/// One line of the table of limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EdgeLimitRow {
    /// The name in configuration, below `server.limits` or `server.rates`.
    pub name: &'static str,
    /// `ms`, `bytes`, `count`, `per_s` or `per_min`.
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

/// A limit in milliseconds as a duration.
pub(crate) fn duration(limit_ms: NonZeroU64) -> Duration {
    Duration::from_millis(limit_ms.get())
}

/// A limit as a size in memory. What does not fit in an address is no limit at all.
pub(crate) fn size(limit: NonZeroU64) -> usize {
    usize::try_from(limit.get()).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_refused_for_every_limit() {
        for row in EdgeLimits::default().table() {
            let text = format!("{{\"{}\": 0}}", row.name);
            assert!(serde_json::from_str::<EdgeLimits>(&text).is_err(), "{}", row.name);
            let text = format!("{{\"{}\": 1}}", row.name);
            let limits: EdgeLimits = serde_json::from_str(&text).expect("one is a limit");
            assert!(limits.table().iter().any(|r| r.name == row.name && r.value == 1));
        }
    }

    #[test]
    fn a_limit_above_its_ceiling_is_refused_by_name() {
        let tables =
            [("limits", EdgeLimits::default().table()), ("rates", EdgeRates::default().table())];
        for (section, row) in tables.iter().flat_map(|(s, rows)| rows.iter().map(move |r| (s, r))) {
            assert!(row.default <= row.ceiling, "{}", row.name);
            let text = format!("{{\"{section}\": {{\"{}\": {}}}}}", row.name, row.ceiling + 1);
            let config: GatewayConfig = serde_json::from_str(&text).expect("parses");
            let error = config.checked().expect_err("above its ceiling");
            let named = format!("server.{section}.{}", row.name);
            assert!(error.to_string().starts_with(&named), "{error}");
            let text = format!("{{\"{section}\": {{\"{}\": 0}}}}", row.name);
            assert!(serde_json::from_str::<GatewayConfig>(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_host_or_origin_that_cannot_be_one_is_refused() {
        let with = |hosts: &[&str], origins: &[&str]| GatewayConfig {
            hosts: hosts.iter().map(|&text| text.to_owned()).collect(),
            origins: origins.iter().map(|&text| text.to_owned()).collect(),
            ..GatewayConfig::default()
        };
        assert!(
            with(&["a.example", "[::1]", "10.0.0.1"], &["https://a.example:8443"])
                .checked()
                .is_ok()
        );
        for bad in ["http://a.example", "a.example:80", "a b", "", "a.example/", "*"] {
            assert!(with(&[bad], &[]).checked().is_err(), "{bad:?}");
        }
        for bad in ["a.example", "null", "*", "https://", "https://a.example/", "ftp://a.example"] {
            assert!(with(&[], &[bad]).checked().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_unknown_setting_is_refused() {
        assert!(serde_json::from_str::<GatewayConfig>("{\"host\": []}").is_err());
    }
}
