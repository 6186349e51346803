//! A component, loaded or refused, and what it asks for.

use foreshore_control::{ComponentState, ComponentSummary, Origin};
use foreshore_domain::component::{Import, ImportVerdict, Inspection};
use foreshore_domain::id::Digest;

use super::display;

/// A component, loaded or refused.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = Component)]
pub(crate) struct ComponentSchema<'a> {
    /// The name, where that much is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "files")]
    name: Option<&'a str>,
    /// The version, where that much is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "0.1.0")]
    version: Option<String>,
    /// `loaded` or `refused`.
    status: &'static str,
    /// `sha256:` and 64 hex digits.
    #[serde(serialize_with = "display")]
    #[schema(value_type = String)]
    digest: Digest,
    /// `embedded`, `directory` or `api`.
    origin: &'static str,
    /// Why it is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<RefusalSchema<'a>>,
    /// What can be said of it without running it, if it is loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    inspection: Option<InspectionSchema<'a>>,
    /// Its tools, by their names within the component.
    tools: Vec<&'a str>,
}

impl<'a> From<&'a ComponentSummary> for ComponentSchema<'a> {
    fn from(component: &'a ComponentSummary) -> Self {
        let reference = component.reference.as_ref();
        let mut schema = Self {
            name: reference.map(|reference| &*reference.name),
            version: reference.map(|reference| reference.version.to_string()),
            status: "refused",
            digest: component.digest,
            origin: origin(&component.origin),
            refusal: None,
            inspection: None,
            tools: Vec::new(),
        };
        match &component.state {
            ComponentState::Loaded { inspection, tools, .. } => {
                schema.status = "loaded";
                schema.inspection = Some(inspection.into());
                schema.tools = tools.iter().map(|tool| &**tool).collect();
            }
            ComponentState::Refused { code, message, denial, .. } => {
                let grant = denial.as_ref().map(|denial| denial.grant.as_str());
                let grant = grant.filter(|grant| !grant.is_empty());
                schema.refusal = Some(RefusalSchema { code, detail: message, grant });
            }
        }
        schema
    }
}

/// Where on the host a component lies is the operator's business, so the path is not told.
fn origin(origin: &Origin) -> &'static str {
    match origin {
        Origin::Embedded => "embedded",
        Origin::Directory(_) => "directory",
        Origin::Api => "api",
    }
}

/// Why a component is refused.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = ComponentRefusal)]
pub(crate) struct RefusalSchema<'a> {
    /// Stable.
    #[schema(example = "import_not_granted")]
    code: &'a str,
    /// What is wrong, and the way on.
    detail: &'a str,
    /// The configuration that would let it in.
    #[serde(skip_serializing_if = "Option::is_none")]
    grant: Option<&'a str>,
}

/// What can be said of a component without running it.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = Inspection)]
pub(crate) struct InspectionSchema<'a> {
    size_bytes: u64,
    /// `tool`, `agent`, `resources`, `prompts`, `command`, `http-handler`.
    kinds: Vec<&'static str>,
    imports: Vec<ImportSchema<'a>>,
    /// Core functions with a body.
    functions: u64,
    /// Size of the largest of them.
    largest_function_bytes: u64,
}

impl<'a> From<&'a Inspection> for InspectionSchema<'a> {
    fn from(inspection: &'a Inspection) -> Self {
        Self {
            size_bytes: inspection.size_bytes,
            kinds: inspection.kinds.iter().map(|kind| kind.as_str()).collect(),
            imports: inspection.imports.iter().map(ImportSchema::from).collect(),
            functions: inspection.functions,
            largest_function_bytes: inspection.largest_function_bytes,
        }
    }
}

/// One thing that a component asks for.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = Import)]
pub(crate) struct ImportSchema<'a> {
    #[schema(example = "wasi:http/outgoing-handler@0.2.6")]
    name: &'a str,
    /// `linked`, `linked_denied`, `not_granted` or `not_linked`.
    verdict: &'static str,
    /// The line of configuration that grants it.
    #[serde(skip_serializing_if = "Option::is_none")]
    grant: Option<&'a str>,
}

impl<'a> From<&'a Import> for ImportSchema<'a> {
    fn from(import: &'a Import) -> Self {
        let (verdict, grant) = match &import.verdict {
            ImportVerdict::Linked => ("linked", None),
            ImportVerdict::LinkedDenied => ("linked_denied", None),
            ImportVerdict::NotGranted { grant } => ("not_granted", Some(grant.as_str())),
            ImportVerdict::NotLinked => ("not_linked", None),
        };
        Self { name: &import.name, verdict, grant }
    }
}

/// The list of components, as [`Named`] writes it.
#[derive(utoipa::ToSchema)]
#[schema(as = Components)]
#[allow(dead_code, reason = "only its schema is used")]
pub(crate) struct ComponentsSchema {
    components: Vec<ComponentSchema<'static>>,
}
