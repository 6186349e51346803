//! What a "no" looks like: a stable code, what was asked for, and the line that would grant it.

use std::fmt;

/// Why a thing was denied. The codes are part of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DenialCode {
    /// No mount covers the path.
    MountNotGranted,
    /// The mount is read-only.
    MountReadOnly,
    /// The mount's byte quota is used up.
    MountBytesExhausted,
    /// The mount's entry quota is used up.
    MountEntriesExhausted,
    /// Not a regular file or directory: a FIFO, device or socket.
    FileTypeNotAllowed,
    /// No rule allows the method, scheme, host, port and path.
    HttpNotGranted,
    /// The rule allows the name, but it leads to a loopback, private or otherwise special
    /// address that the grant does not name.
    HttpAddressNotGranted,
    /// The request itself is not one that is ever let out: userinfo, CONNECT, Upgrade.
    HttpRequestNotAllowed,
    /// The call has used all of its outgoing requests.
    HttpRequestsExhausted,
    /// What the guest sends or keeps holds a secret of this host.
    SecretLeak,
    /// A secret is granted for the request and cannot be put into it.
    SecretUnusable,
    /// No grant covers the namespace of memory, or the component has no bucket.
    MemoryNotGranted,
    /// The namespace of memory may only be read.
    MemoryReadOnly,
    /// The agent may not call the tool.
    ToolNotGranted,
    /// Whoever asks may not call the tool.
    ToolNotPermitted,
    /// Whoever asks may not ask the agent.
    AgentNotPermitted,
    /// The agent may not name the model.
    ModelNotGranted,
    /// The agent may not delegate to the other agent.
    AgentNotGranted,
    /// Agents have delegated to agents as deep as is allowed.
    DelegationTooDeep,
    /// A rule of approvals denies the call.
    DeniedByRule,
    /// The component imports an interface that was not granted.
    ImportNotGranted,
    /// The component imports an interface that this host does not have.
    ImportNotLinked,
    /// The tool said no by itself, for a reason that the host's policy does not know.
    DeniedByTool,
}

impl DenialCode {
    /// Every code, for documentation and tests.
    pub const ALL: &[Self] = &[
        Self::MountNotGranted,
        Self::MountReadOnly,
        Self::MountBytesExhausted,
        Self::MountEntriesExhausted,
        Self::FileTypeNotAllowed,
        Self::HttpNotGranted,
        Self::HttpAddressNotGranted,
        Self::HttpRequestNotAllowed,
        Self::HttpRequestsExhausted,
        Self::SecretLeak,
        Self::SecretUnusable,
        Self::MemoryNotGranted,
        Self::MemoryReadOnly,
        Self::ToolNotGranted,
        Self::ToolNotPermitted,
        Self::AgentNotPermitted,
        Self::ModelNotGranted,
        Self::AgentNotGranted,
        Self::DelegationTooDeep,
        Self::DeniedByRule,
        Self::ImportNotGranted,
        Self::ImportNotLinked,
        Self::DeniedByTool,
    ];

    /// The stable code.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MountNotGranted => "mount_not_granted",
            Self::MountReadOnly => "mount_read_only",
            Self::MountBytesExhausted => "mount_bytes_exhausted",
            Self::MountEntriesExhausted => "mount_entries_exhausted",
            Self::FileTypeNotAllowed => "file_type_not_allowed",
            Self::HttpNotGranted => "http_not_granted",
            Self::HttpAddressNotGranted => "http_address_not_granted",
            Self::HttpRequestNotAllowed => "http_request_not_allowed",
            Self::HttpRequestsExhausted => "http_requests_exhausted",
            Self::SecretLeak => "secret_leak",
            Self::SecretUnusable => "secret_unusable",
            Self::MemoryNotGranted => "memory_not_granted",
            Self::MemoryReadOnly => "memory_read_only",
            Self::ToolNotGranted => "tool_not_granted",
            Self::ToolNotPermitted => "tool_not_permitted",
            Self::AgentNotPermitted => "agent_not_permitted",
            Self::ModelNotGranted => "model_not_granted",
            Self::AgentNotGranted => "agent_not_granted",
            Self::DelegationTooDeep => "delegation_too_deep",
            Self::DeniedByRule => "denied_by_rule",
            Self::ImportNotGranted => "import_not_granted",
            Self::ImportNotLinked => "import_not_linked",
            Self::DeniedByTool => "denied_by_tool",
        }
    }
}

impl fmt::Display for DenialCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A "no".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {subject}; {}", self.way_on())]
pub struct Denial {
    /// Why.
    pub code: DenialCode,
    /// What was asked for, for a person: `GET https://example.com/`, `/data/notes.txt`.
    pub subject: String,
    /// The configuration that would allow it; empty where nothing would.
    pub grant: String,
}

impl Denial {
    fn way_on(&self) -> String {
        if self.grant.is_empty() {
            "no grant allows it".to_owned()
        } else {
            format!("to allow it, configure {}", self.grant)
        }
    }
}
