//! What checking a value against a schema can cost, found before the schema is accepted.
//!
//! A schema of a few lines can keep a validator busy for ever: a reference to itself recurses
//! until the stack ends, and `allOf` of two references doubles the work at each step. Guests
//! pay for their work in fuel; the host's validator does not, so its work is bounded here: at
//! load, cycles and long chains are refused and the evaluations per value are counted for each
//! depth of nesting; on a call, a value whose size times that count is too much is refused.
//!
//! The count is an upper bound: it supposes that every branch of every applicator runs.

use std::collections::HashMap;

use serde_json::Value;

use crate::json_depth::JSON_DEPTH_MAX;
use crate::schema::SchemaError;

/// Applicators and references that a validator follows without going down in the value.
const CHAIN_MAX: usize = 16;
/// Levels of JSON in a schema.
const NESTING_MAX: usize = 64;
/// Subschemas in a schema.
const SUBSCHEMAS_MAX: usize = 4_096;
/// Evaluations for one check: about a tenth of a second.
const EVALUATIONS_MAX: u64 = 5_000_000;
/// Characters that cost as much to look at as one evaluation.
const BYTES_PER_EVALUATION: usize = 16;

/// Keywords whose meaning depends on what else is evaluated, or that name schemas by anything
/// but their place. Tool schemas do without.
const REFUSED: [&str; 7] = [
    "$id",
    "$anchor",
    "$dynamicAnchor",
    "$dynamicRef",
    "$recursiveAnchor",
    "$recursiveRef",
    "$vocabulary",
];

/// Evaluations per value, by how deep the value nests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SchemaCost {
    by_depth: [u64; JSON_DEPTH_MAX + 1],
    /// Patterns in the schema: each takes memory of its own once compiled.
    pub(crate) patterns: usize,
}

/// A value that is too much work to check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooCostly;

/// One subschema: what it costs by itself, and what is evaluated with it.
#[derive(Default)]
struct Node {
    own: u64,
    /// Evaluated on the same value.
    in_place: Vec<usize>,
    /// Evaluated on a part of the value: for each kind of part (a property by its name, any other
    /// property, an item), the subschemas that meet there.
    parts: Vec<Vec<usize>>,
    /// `unevaluated*` runs everything in place a second time.
    twice: bool,
}

impl SchemaCost {
    /// # Errors
    /// A schema that refers out of itself or to itself in place, or that is too much work on
    /// any value.
    pub(crate) fn of(schema: &Value) -> Result<Self, SchemaError> {
        let mut graph =
            Graph { root: schema, nodes: Vec::new(), known: HashMap::new(), patterns: 0 };
        let root = graph.node(schema, "", 0)?;
        graph.check_chains()?;
        let mut by_depth = [0; JSON_DEPTH_MAX + 1];
        let mut below = vec![0; graph.nodes.len()];
        for cost in &mut by_depth {
            below = graph.level(&below);
            *cost = below[root];
        }
        if by_depth[0] > EVALUATIONS_MAX {
            return Err(SchemaError::TooCostly);
        }
        Ok(Self { by_depth, patterns: graph.patterns })
    }

    /// # Errors
    /// [`TooCostly`] if checking this value could take too long.
    pub(crate) fn check(&self, value: &Value) -> Result<(), TooCostly> {
        let (size, depth) = measure(value, 0).ok_or(TooCostly)?;
        let each = self.by_depth.get(depth).ok_or(TooCostly)?;
        if each.saturating_mul(size) > EVALUATIONS_MAX { Err(TooCostly) } else { Ok(()) }
    }
}

/// Size in evaluations, and depth; `None` beyond [`JSON_DEPTH_MAX`].
fn measure(value: &Value, level: usize) -> Option<(u64, usize)> {
    if level > JSON_DEPTH_MAX {
        return None;
    }
    let text =
        |text: &str| u64::try_from(1 + text.len() / BYTES_PER_EVALUATION).unwrap_or(u64::MAX);
    let mut size = 1_u64;
    let mut depth = 0;
    let mut part = |value: &Value| -> Option<()> {
        let (part_size, part_depth) = measure(value, level + 1)?;
        size = size.saturating_add(part_size);
        depth = depth.max(part_depth + 1);
        Some(())
    };
    match value {
        Value::String(string) => size = text(string),
        Value::Array(items) => items.iter().try_for_each(&mut part)?,
        Value::Object(map) => {
            map.values().try_for_each(&mut part)?;
            size = map.keys().fold(size, |size, key| size.saturating_add(text(key)));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
    Some((size, depth))
}

struct Graph<'a> {
    root: &'a Value,
    nodes: Vec<Node>,
    /// Subschemas by their address within the schema, which does not move meanwhile.
    known: HashMap<*const Value, usize>,
    patterns: usize,
}

impl<'a> Graph<'a> {
    /// The node of a subschema, made with all that it leads to.
    fn node(&mut self, schema: &'a Value, at: &str, nesting: usize) -> Result<usize, SchemaError> {
        if let Some(index) = self.known.get(&std::ptr::from_ref(schema)) {
            return Ok(*index);
        }
        if nesting > NESTING_MAX || self.nodes.len() >= SUBSCHEMAS_MAX {
            return Err(SchemaError::TooCostly);
        }
        let index = self.nodes.len();
        self.nodes.push(Node::default());
        self.known.insert(std::ptr::from_ref(schema), index);
        self.nodes[index] = self.read(schema, at, nesting + 1)?;
        Ok(index)
    }

    fn read(&mut self, schema: &'a Value, at: &str, nesting: usize) -> Result<Node, SchemaError> {
        let mut node = Node { own: 1, ..Node::default() };
        let Some(map) = schema.as_object() else { return Ok(node) };
        if let Some(keyword) = REFUSED.iter().find(|keyword| map.contains_key(**keyword)) {
            return Err(SchemaError::Keyword { keyword, pointer: at.to_owned() });
        }
        // What meets at a property that has no subschema of its own, and at an item.
        let (mut anywhere, mut any_property, mut any_item) = (Vec::new(), Vec::new(), Vec::new());
        let (mut named, mut prefix) = (Vec::new(), Vec::new());
        for (keyword, value) in map {
            let at = format!("{at}/{keyword}");
            match keyword.as_str() {
                "$ref" => node.in_place.push(self.reference(value, &at, nesting)?),
                "allOf" | "anyOf" | "oneOf" => {
                    node.in_place.extend(self.list(value, &at, nesting)?);
                }
                "not" | "if" | "then" | "else" => {
                    node.in_place.push(self.node(value, &at, nesting)?);
                }
                "dependentSchemas" | "dependencies" => {
                    node.in_place.extend(self.map(value, &at, nesting)?);
                }
                "properties" => named = self.map(value, &at, nesting)?,
                "patternProperties" => {
                    self.patterns += value.as_object().map_or(0, serde_json::Map::len);
                    anywhere.extend(self.map(value, &at, nesting)?);
                }
                "additionalProperties" => any_property.push(self.node(value, &at, nesting)?),
                "unevaluatedProperties" => {
                    node.twice = true;
                    any_property.push(self.node(value, &at, nesting)?);
                }
                // It sees names, which are values without parts, beside the properties.
                "propertyNames" => anywhere.push(self.node(value, &at, nesting)?),
                "prefixItems" => prefix = self.list(value, &at, nesting)?,
                "items" if value.is_array() => prefix = self.list(value, &at, nesting)?,
                "items" | "additionalItems" | "contains" => {
                    any_item.push(self.node(value, &at, nesting)?);
                }
                "unevaluatedItems" => {
                    node.twice = true;
                    any_item.push(self.node(value, &at, nesting)?);
                }
                "$defs" | "definitions" => drop(self.map(value, &at, nesting)?),
                "enum" | "const" => node.own += weight(value),
                "pattern" => self.patterns += 1,
                _ => {}
            }
        }
        for part in named {
            node.parts.push([anywhere.as_slice(), &[part]].concat());
        }
        node.parts.push([anywhere, any_property].concat());
        for part in prefix {
            node.parts.push([any_item.as_slice(), &[part]].concat());
        }
        node.parts.push(any_item);
        Ok(node)
    }

    fn list(
        &mut self,
        value: &'a Value,
        at: &str,
        nesting: usize,
    ) -> Result<Vec<usize>, SchemaError> {
        let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
        let node = |(index, item)| self.node(item, &format!("{at}/{index}"), nesting);
        items.iter().enumerate().map(node).collect()
    }

    fn map(
        &mut self,
        value: &'a Value,
        at: &str,
        nesting: usize,
    ) -> Result<Vec<usize>, SchemaError> {
        let entries = value.as_object().into_iter().flatten();
        let node =
            |(key, item): (&String, &'a Value)| self.node(item, &format!("{at}/{key}"), nesting);
        entries.map(node).collect()
    }

    /// `#` and `#/a/b`; everything else leads out of the schema or depends on what is refused.
    fn reference(
        &mut self,
        value: &'a Value,
        at: &str,
        nesting: usize,
    ) -> Result<usize, SchemaError> {
        let reference = value.as_str().unwrap_or_default();
        let local =
            reference.strip_prefix('#').filter(|rest| rest.is_empty() || rest.starts_with('/'));
        let Some(pointer) = local else {
            let reference = reference.chars().take(128).collect();
            return Err(SchemaError::RemoteReference { reference });
        };
        let target = self.root.pointer(pointer).ok_or_else(|| SchemaError::Invalid {
            pointer: at.to_owned(),
            message: format!("\"{reference}\" leads nowhere"),
        })?;
        self.node(target, pointer, nesting)
    }

    /// No cycle and no long chain of in-place steps: a validator recurses along them.
    fn check_chains(&self) -> Result<(), SchemaError> {
        // The longest chain from each node; a node that is asked for while it is being counted
        // is on a cycle.
        let mut longest = vec![None; self.nodes.len()];
        (0..self.nodes.len()).try_for_each(|index| self.chain(index, 0, &mut longest).map(|_| ()))
    }

    fn chain(
        &self,
        index: usize,
        so_far: usize,
        longest: &mut [Option<usize>],
    ) -> Result<usize, SchemaError> {
        // A cycle is a chain without end, so one check finds both.
        if so_far > CHAIN_MAX {
            return Err(SchemaError::ChainTooLong { max: CHAIN_MAX });
        }
        if let Some(length) = longest[index] {
            return if so_far + length > CHAIN_MAX {
                Err(SchemaError::ChainTooLong { max: CHAIN_MAX })
            } else {
                Ok(length)
            };
        }
        let mut length = 0;
        for next in &self.nodes[index].in_place {
            length = length.max(1 + self.chain(*next, so_far + 1, longest)?);
        }
        longest[index] = Some(length);
        Ok(length)
    }

    /// The cost of each node on a value that nests one level deeper than for `below`.
    fn level(&self, below: &[u64]) -> Vec<u64> {
        let mut costs = vec![None; self.nodes.len()];
        (0..self.nodes.len()).map(|index| self.cost(index, below, &mut costs)).collect()
    }

    fn cost(&self, index: usize, below: &[u64], costs: &mut [Option<u64>]) -> u64 {
        if let Some(cost) = costs[index] {
            return cost;
        }
        let node = &self.nodes[index];
        let in_place = node
            .in_place
            .iter()
            .fold(0_u64, |sum, next| sum.saturating_add(self.cost(*next, below, costs)));
        let in_place = if node.twice { in_place.saturating_mul(2) } else { in_place };
        let deepest = node
            .parts
            .iter()
            .map(|part| part.iter().fold(0_u64, |sum, next| sum.saturating_add(below[*next])))
            .max()
            .unwrap_or_default();
        let cost = node.own.saturating_add(in_place).saturating_add(deepest);
        costs[index] = Some(cost);
        cost
    }
}

/// What comparing with a constant costs: its own size.
fn weight(value: &Value) -> u64 {
    measure(value, 0).map_or(u64::MAX / 2, |(size, _)| size / 4)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// `levels` schemas, each of which refers to the next `times` times in place.
    fn fan_out(levels: usize, times: usize) -> Value {
        let defs: serde_json::Map<String, Value> = (0..levels)
            .map(|level| {
                let next = json!({"$ref": format!("#/$defs/d{}", level + 1)});
                (format!("d{level}"), json!({"allOf": vec![next; times]}))
            })
            .chain([(format!("d{levels}"), json!({"type": "string"}))])
            .collect();
        json!({"$ref": "#/$defs/d0", "$defs": defs})
    }

    #[test]
    fn a_schema_that_refers_to_itself_in_place_is_refused() {
        for cycle in [
            json!({"$ref": "#"}),
            json!({"allOf": [{"$ref": "#"}]}),
            json!({"not": {"anyOf": [{"$ref": "#/$defs/a"}]}, "$defs": {"a": {"$ref": "#"}}}),
            json!({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"if": {"$ref": "#/$defs/a"}}}}),
            json!({"properties": {"x": {"$ref": "#/properties/x"}}}),
        ] {
            let error = SchemaCost::of(&cycle).expect_err("a cycle");
            assert_eq!(error, SchemaError::ChainTooLong { max: CHAIN_MAX }, "{cycle}");
        }
    }

    #[test]
    fn a_schema_that_doubles_the_work_at_each_step_is_refused() {
        assert!(SchemaCost::of(&fan_out(7, 2)).is_ok());
        assert_eq!(SchemaCost::of(&fan_out(7, 10)), Err(SchemaError::TooCostly));
        let long = SchemaError::ChainTooLong { max: CHAIN_MAX };
        assert_eq!(SchemaCost::of(&fan_out(20, 1)), Err(long));
        assert_eq!(SchemaCost::of(&fan_out(40, 1)), Err(SchemaError::TooCostly), "too deep");
    }

    #[test]
    fn a_tree_may_nest_as_deep_as_any_json() {
        let tree = json!({"$ref": "#/$defs/tree", "$defs": {"tree": {
            "type": "object",
            "properties": {"left": {"$ref": "#/$defs/tree"}, "right": {"$ref": "#/$defs/tree"}},
        }}});
        let cost = SchemaCost::of(&tree).expect("a fair schema");
        assert!(cost.by_depth[32] < 100, "{:?}", cost.by_depth);
        let mut value = json!({});
        for _ in 0..31 {
            value = json!({"left": value});
        }
        assert_eq!(cost.check(&value), Ok(()));
        assert_eq!(cost.check(&json!([value, [[value]]])), Err(TooCostly));
    }

    #[test]
    fn a_union_that_doubles_with_depth_takes_shallow_values_only() {
        let branch = |name: &str| {
            json!({"type": "object", "properties": {
            "kind": {"const": name}, "of": {"type": "array", "items": {"$ref": "#/$defs/term"}}}})
        };
        let union = json!({"$ref": "#/$defs/term", "$defs": {"term": {
            "anyOf": [{"type": "string"}, branch("all"), branch("any"), branch("none")]}}});
        let cost = SchemaCost::of(&union).expect("a fair schema");
        let nested = |levels: usize| {
            (0..levels).fold(json!("leaf"), |value, _| json!({"kind": "all", "of": [value]}))
        };
        assert_eq!(cost.check(&nested(4)), Ok(()));
        assert_eq!(cost.check(&nested(15)), Err(TooCostly));
    }

    #[test]
    fn a_long_value_is_refused_where_each_part_is_dear() {
        let cost = SchemaCost::of(&json!({"items": {"enum": (0..4_000).collect::<Vec<_>>()}}))
            .expect("a fair schema");
        assert_eq!(cost.check(&json!(vec![7; 100])), Ok(()));
        assert_eq!(cost.check(&json!(vec![7; 100_000])), Err(TooCostly));
        let plain = SchemaCost::of(&json!({"items": {"type": "integer"}})).expect("a fair schema");
        assert_eq!(plain.check(&json!(vec![7; 100_000])), Ok(()));
    }

    #[test]
    fn references_that_leave_the_schema_are_refused() {
        for reference in
            ["https://example.com/s", "other.json", "#anchor", "file:///etc/passwd", "//x"]
        {
            let schema = json!({"properties": {"a": {"$ref": reference}}});
            let error = SchemaCost::of(&schema).expect_err("remote");
            assert_eq!(error, SchemaError::RemoteReference { reference: reference.to_owned() });
        }
        for keyword in REFUSED {
            let schema = json!({"properties": {"a": {keyword: "#x"}}});
            let error = SchemaCost::of(&schema).expect_err("refused");
            assert_eq!(
                error,
                SchemaError::Keyword { keyword, pointer: "/properties/a".to_owned() }
            );
        }
    }

    #[test]
    fn a_property_may_be_called_like_a_refused_keyword() {
        let schema = json!({"properties": {"$id": {"type": "string"}, "$ref": {"type": "string"}}});
        assert!(SchemaCost::of(&schema).is_ok());
    }
}
