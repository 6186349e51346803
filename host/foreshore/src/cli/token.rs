//! `foreshore token`: who may use this host.

use std::num::NonZeroU64;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::ConfigArguments;
use super::activity::text;
use super::exit::{Exit, Failure};
use super::moment::span_ms;
use super::output::{Paint, TextTable, print, print_json};
use crate::client;

/// Issue, list and revoke the credentials of this host.
#[derive(Debug, Subcommand)]
pub(super) enum Token {
    /// Make an API key; its text is shown once
    Issue(Issue),
    /// List the credentials there are
    List(List),
    /// End a credential, at once
    Revoke(Revoke),
    /// Say who a command of this machine is to the server
    Whoami(List),
}

#[derive(Debug, Args)]
pub(super) struct Issue {
    /// What it is for, for people
    name: String,
    /// What it may do: admin, operator, approver, caller, viewer, or a role of the configuration
    #[arg(long = "role", value_name = "ROLE", required = true)]
    roles: Vec<String>,
    /// Whose data it sees [default: that of whoever issues it]
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// A tool it may call, and no other: files.read, files.* (may be given several times)
    #[arg(long = "tool", value_name = "PATTERN")]
    tools: Vec<String>,
    /// An agent it may ask, and no other (may be given several times)
    #[arg(long = "agent", value_name = "NAME")]
    agents: Vec<String>,
    /// When it ends, from now: 12h, 30d [default: never]
    #[arg(long, value_name = "TIME", value_parser = lifetime)]
    expires_in: Option<NonZeroU64>,
    /// Make a signed access token for half an hour, and a refresh token for the next, instead of
    /// a key
    #[arg(long)]
    access: bool,
    /// Print the answer of the HTTP API
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArguments,
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Print the answer of the HTTP API
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArguments,
}

#[derive(Debug, Args)]
pub(super) struct Revoke {
    /// Its id, as `foreshore token list` shows it
    id: String,
    #[command(flatten)]
    config: ConfigArguments,
}

impl Token {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        match self {
            Self::Issue(command) => command.run(),
            Self::List(command) => command.list(),
            Self::Revoke(command) => command.run(),
            Self::Whoami(command) => command.whoami(),
        }
    }
}

impl Issue {
    fn run(self) -> Result<Exit, Failure> {
        let config = super::events::load(&self.config)?;
        let mut asked = json!({ "name": self.name, "roles": self.roles });
        let mut put = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                asked[key] = value;
            }
        };
        put("kind", self.access.then(|| "access".into()));
        put("tenant", self.tenant.map(Value::from));
        put("tools", Some(self.tools).filter(|tools| !tools.is_empty()).map(Value::from));
        put("agents", Some(self.agents).filter(|agents| !agents.is_empty()).map(Value::from));
        put("expires_in_s", self.expires_in.map(|seconds| seconds.get().into()));
        let issued = client::ask(&config, async |client| {
            client.send("POST", "/v1/tokens", Some(&asked)).await
        })?;
        if self.json {
            print_json(&issued);
        } else {
            eprintln!("{}: shown once, so keep it now", text(&issued["id"]));
            for name in ["secret", "access_token", "refresh_token"] {
                if let Some(secret) = issued[name].as_str() {
                    print(secret);
                }
            }
        }
        Ok(Exit::Success)
    }
}

impl List {
    fn list(self) -> Result<Exit, Failure> {
        let config = super::events::load(&self.config)?;
        let listed = client::ask(&config, async |client| client.get("/v1/tokens").await)?;
        if self.json {
            print_json(&listed);
        } else {
            print(&table(&listed, &Paint::stdout()));
        }
        Ok(Exit::Success)
    }

    fn whoami(self) -> Result<Exit, Failure> {
        let config = super::events::load(&self.config)?;
        let who = client::ask(&config, async |client| client.get("/v1/whoami").await)?;
        if self.json {
            print_json(&who);
            return Ok(Exit::Success);
        }
        let permissions = who["permissions"].as_array().into_iter().flatten().map(text);
        let permissions: Vec<String> = permissions.collect();
        print(&format!("{} of tenant {}", text(&who["subject"]), text(&who["tenant"])));
        print(&permissions.join(" "));
        Ok(Exit::Success)
    }
}

impl Revoke {
    fn run(self) -> Result<Exit, Failure> {
        let config = super::events::load(&self.config)?;
        let path = client::path(&["tokens", &self.id]);
        client::ask(&config, async |client| client.send("DELETE", &path, None).await)?;
        print(&format!("{} is over", self.id));
        Ok(Exit::Success)
    }
}

fn table(listed: &Value, paint: &Paint) -> String {
    let mut table =
        TextTable::new(&["id", "name", "tenant", "roles", "state", "issued", "expires"]);
    for token in listed["tokens"].as_array().into_iter().flatten() {
        let roles = token["roles"].as_array().into_iter().flatten().map(text);
        let roles: Vec<String> = roles.collect();
        table.row([
            text(&token["id"]),
            text(&token["name"]),
            text(&token["tenant"]),
            roles.join(", "),
            text(&token["state"]),
            text(&token["issued_at"]),
            token["expires_at"].as_str().unwrap_or("never").to_owned(),
        ]);
    }
    table.render(paint)
}

/// A time such as `90s`, `12h` or `30d`, in seconds.
fn lifetime(text: &str) -> Result<NonZeroU64, String> {
    let seconds = span_ms(text).and_then(|ms| NonZeroU64::new(ms / 1_000));
    seconds
        .ok_or_else(|| format!("{text:?} is no time: write a number and s, m, h or d, such as 30d"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_is_a_number_and_a_unit() {
        for (text, seconds) in [("90s", 90), ("2m", 120), ("12h", 43_200), ("30d", 2_592_000)] {
            assert_eq!(lifetime(text).map(NonZeroU64::get), Ok(seconds));
        }
        for bad in ["", "d", "0d", "-1d", "1w", "1.5h", "99999999999999999999d"] {
            assert!(lifetime(bad).is_err(), "{bad}");
        }
    }
}
