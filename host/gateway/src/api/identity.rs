//! `/v1/whoami` and `/v1/tokens`: who asks, and the credentials there are.

use foreshore_control::identities::{Grantee, IdentityFault, NewCredential, SecretText};
use foreshore_control::now_unix_ms;
use foreshore_domain::conversation::Name;
use foreshore_domain::event::Tenant;
use foreshore_domain::id::KeyId;
use foreshore_domain::identity::{Reach, RoleName};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use hyper::body::Incoming;

use crate::auth::{self, Signer, principal};
use crate::body::{Body, whole};
use crate::connection::Peer;
use crate::negotiation;
use crate::problem::{Problem, Refusal};
use crate::request::{Answer, json};
use crate::wire::{
    self, CredentialKindSchema, CredentialSchema, CredentialsSchema, IssuedSchema,
    NewCredentialSchema, PrincipalSchema, ProblemSchema, RefreshSchema, TokensSchema,
};
use foreshore_domain::moment::rfc3339;

/// Who asks.
#[utoipa::path(
    get,
    path = "/v1/whoami",
    operation_id = "whoAmI",
    tag = "identity",
    responses(
        (status = 200, description = "The principal behind the credential, and what it may do", body = PrincipalSchema<'static>),
        (status = 401, description = "No credential, or one that does not count", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
pub(crate) fn whoami(_peer: &Peer, head: &Parts) -> Answer {
    negotiation::accepts_json(&head.headers)?;
    let principal = principal(head);
    Ok(json(wire::json(&PrincipalSchema::new(&principal), 1 << 10)))
}

/// `GET` and `POST` of credentials.
pub(crate) async fn tokens(peer: &Peer, head: &Parts, body: Incoming) -> Answer {
    if head.method == Method::POST { issue(peer, head, body).await } else { list(peer, head) }
}

/// List the credentials.
///
/// Those of the caller's tenant; an administrator of the tenant `default` sees all. A credential
/// that ended is listed for 30 days. None is shown: only its holder has it.
#[utoipa::path(
    get,
    path = "/v1/tokens",
    operation_id = "listTokens",
    tag = "identity",
    responses(
        (status = 200, description = "The credentials, the oldest first", body = CredentialsSchema),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
pub(crate) fn list(peer: &Peer, head: &Parts) -> Answer {
    negotiation::accepts_json(&head.headers)?;
    let listed = peer.edge.control.identities().list(&principal(head))?;
    let now = now_unix_ms();
    let tokens = listed.iter().map(|listed| CredentialSchema::new(listed, now)).collect();
    Ok(json(wire::json(&CredentialsSchema { tokens }, 4 << 10)))
}

/// Make an API key, or an access token with a refresh token.
///
/// The texts are in this answer and nowhere else. They give at most what their maker has.
#[utoipa::path(
    post,
    path = "/v1/tokens",
    operation_id = "issueToken",
    tag = "identity",
    request_body = NewCredentialSchema,
    responses(
        (status = 201, description = "The credential, with its text", body = IssuedSchema),
        (status = 403, description = "It would give more than its maker has", body = ProblemSchema<'static>, content_type = "application/problem+json"),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn issue(peer: &Peer, head: &Parts, body: Incoming) -> Answer {
    negotiation::require_json(&head.headers)?;
    let body = whole(peer, body).await?;
    let asked: NewCredentialSchema = serde_json::from_slice(&body)
        .map_err(|error| Problem::invalid_body("", error.to_string()))?;
    let by = principal(head);
    let kind = asked.kind;
    let mut new = asked.read(&by.tenant)?;
    let identities = peer.edge.control.identities();
    let text = match kind {
        CredentialKindSchema::Key => {
            let (entry, text) = identities.issue(new, &by).await?;
            let token = CredentialSchema::key(&entry, now_unix_ms());
            wire::json(&IssuedSchema { token, secret: text.reveal().to_owned() }, 1 << 10)
        }
        CredentialKindSchema::Access => {
            let signer = signer(peer)?;
            let most = now_unix_ms().saturating_add(signer.refresh_ms());
            new.expires_at_unix_ms = Some(new.expires_at_unix_ms.map_or(most, |end| end.min(most)));
            let (grantee, refresh) = identities.start_tokens(new, &by).await?;
            wire::json(&tokens_of(signer, &grantee, &refresh)?, 1 << 10)
        }
    };
    let mut response = json(text);
    *response.status_mut() = StatusCode::CREATED;
    Ok(response)
}

/// Exchange a refresh token for the next, and a new access token.
///
/// A refresh token works once. One that comes a second time was stolen from somebody: all tokens
/// of its line end at once (RFC 9700, section 4.14.2).
#[utoipa::path(
    post,
    path = "/v1/auth/refresh",
    operation_id = "refreshToken",
    tag = "identity",
    request_body = RefreshSchema,
    responses(
        (status = 200, description = "The next pair", body = TokensSchema),
        (status = 401, description = "The refresh token does not count", body = ProblemSchema<'static>, content_type = "application/problem+json"),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn refresh(peer: &Peer, head: &Parts, body: Incoming, id: &HeaderValue) -> Answer {
    negotiation::require_json(&head.headers)?;
    let body = whole(peer, body).await?;
    let RefreshSchema { refresh_token } = serde_json::from_slice(&body)
        .map_err(|error| Problem::invalid_body("", error.to_string()))?;
    let signer = signer(peer)?;
    let identities = peer.edge.control.identities();
    match identities.rotate(&refresh_token, signer.refresh_ms()).await {
        Ok((grantee, next)) => Ok(json(wire::json(&tokens_of(signer, &grantee, &next)?, 1 << 10))),
        Err(fault) => {
            if matches!(fault, IdentityFault::Refresh(_)) {
                auth::record(peer, head, id, None, (fault.code(), None));
            }
            Err(fault.into())
        }
    }
}

fn signer(peer: &Peer) -> Result<&Signer, Refusal> {
    peer.edge.auth.signer.as_ref().ok_or_else(|| {
        let (title, detail) =
            ("This host signs no tokens", "use API keys, or set [auth.tokens] enabled = true");
        Problem::new(StatusCode::NOT_FOUND, "no_token_issuer", title, detail)
    })
}

fn tokens_of(
    signer: &Signer,
    grantee: &Grantee,
    refresh: &SecretText,
) -> Result<TokensSchema, Refusal> {
    let now_unix_s = now_unix_ms() / 1_000;
    let access = signer.sign(grantee, now_unix_s);
    Ok(TokensSchema {
        id: grantee.family.to_string(),
        access_token: access.ok_or_else(|| Problem::host("an access token was not signed"))?,
        token_type: "Bearer",
        expires_in: signer.access_s(),
        refresh_token: refresh.reveal().to_owned(),
        refresh_expires_at: rfc3339(grantee.expires_at_unix_ms),
    })
}

/// Revoke a credential.
///
/// It counts for no request that comes after the answer.
#[utoipa::path(
    delete,
    path = "/v1/tokens/{id}",
    operation_id = "revokeToken",
    tag = "identity",
    params(("id" = String, Path)),
    responses(
        (status = 204, description = "It is over"),
        (status = 404, description = "There is none of this id", body = ProblemSchema<'static>, content_type = "application/problem+json"),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn revoke(peer: &Peer, head: &Parts, id: &str) -> Answer {
    let id = KeyId::parse(id)
        .ok_or_else(|| Problem::not_found("a credential's id is key_ and 32 hex digits"))?;
    peer.edge.control.identities().revoke(id, &principal(head)).await?;
    let mut response = Response::new(Body::from(bytes::Bytes::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

impl NewCredentialSchema {
    fn read(self, own: &Tenant) -> Result<NewCredential, Refusal> {
        let invalid = |pointer: &str, error: &dyn std::fmt::Display| {
            Problem::invalid_body(pointer, error.to_string())
        };
        let name = Name::parse(self.name).map_err(|error| invalid("/name", &error))?;
        let tenant = match self.tenant {
            None => own.clone(),
            Some(tenant) => Tenant::parse(&tenant).map_err(|error| invalid("/tenant", &error))?,
        };
        let roles: Result<Vec<RoleName>, Refusal> = self
            .roles
            .iter()
            .map(|role| RoleName::parse(role).map_err(|error| invalid("/roles", &error)))
            .collect();
        let tools = self.tools.map(|tools| {
            let read = |tool: &String| tool.parse().map_err(|error| invalid("/tools", &error));
            tools.iter().map(read).collect::<Result<Vec<_>, _>>()
        });
        let reach = Reach { tools: tools.transpose()?, agents: self.agents };
        let end = self
            .expires_in_s
            .map(|seconds| now_unix_ms().saturating_add(seconds.get().saturating_mul(1_000)));
        Ok(NewCredential { name, tenant, roles: roles?, reach, expires_at_unix_ms: end })
    }
}

impl From<IdentityFault> for Refusal {
    fn from(fault: IdentityFault) -> Self {
        let code = fault.code();
        let detail = fault.to_string();
        let status = match &fault {
            IdentityFault::Invalid { pointer, .. } => {
                return Problem::invalid_body(pointer, detail);
            }
            IdentityFault::Exceeds { .. } => StatusCode::FORBIDDEN,
            IdentityFault::NotFound { .. } => StatusCode::NOT_FOUND,
            IdentityFault::Refresh(_) => return Problem::invalid_token(detail),
            IdentityFault::Full { .. } | IdentityFault::Contended => StatusCode::CONFLICT,
            IdentityFault::ReadOnly { .. } => StatusCode::SERVICE_UNAVAILABLE,
            _ => return Problem::host(&detail),
        };
        Problem::new(status, code, "The credential was not made or ended", detail)
    }
}
