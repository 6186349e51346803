use super::*;

fn put(json: &str) -> Result<MemoryPut, String> {
    serde_json::from_str(json).map_err(|error| error.to_string())
}

#[test]
fn a_payload_reads_back_as_it_was_written() {
    let model = ModelName::parse("embedder").expect("valid");
    let event = MemoryPut {
        namespace: Namespace::parse("notes").expect("valid"),
        key: Key::parse("a/b").expect("valid"),
        value: ValueRef::Inline(JsonText::parse(r#"{"a": [1, "x"]}"#).expect("valid")),
        tags: Tags::parse(["b", "a", "b"]).expect("valid"),
        importance: Importance::try_from(0.25).expect("valid"),
        ttl_s: Some(Ttl::try_from(60).expect("valid")),
        origin: Origin::Url("example.org".to_owned()),
        embedding: Some(Embedding::new(model, vec![3.0, 0.1, -4.0]).expect("valid")),
        blobs: Vec::new(),
    };
    let json = serde_json::to_string(&event).expect("serializes");
    assert!(json.contains(r#""value":{"inline":{"a": [1, "x"]}},"tags":["a","b"]"#), "{json}");
    assert_eq!(put(&json), Ok(event));
}

#[test]
fn what_is_out_of_bounds_is_refused_with_the_thing_and_the_limit() {
    let base = r#""namespace":"n","key":"k","value":{"inline":1},"origin":"person""#;
    assert!(put(&format!("{{{base}}}")).is_ok());
    let long = "x".repeat(513);
    let large = format!(r#"{{"inline":"{}"}}"#, "x".repeat(VALUE_INLINE_MAX_BYTES));
    let deep = format!(r#"{{"inline":{}{}}}"#, "[".repeat(65), "]".repeat(65));
    let tags: Vec<String> = (0..17).map(|n| format!("\"{n}\"")).collect();
    let tags = format!("[{}]", tags.join(","));
    let digest = r#"{"blob":{"digest":"AB","size_bytes":1,"json_type":"array"}}"#.to_owned();
    let vector = r#"{"model":"m","vector":"AAAAAA=="}"#;
    let not_finite = r#"{"model":"m","vector":"AADAfw=="}"#;
    for (field, value, expected) in [
        ("namespace", r#""Notes""#, "namespace \"Notes\" is refused: it is 1 to 64 of a-z"),
        ("namespace", r#"".a""#, "starts with a letter or digit"),
        ("key", r#""""#, "key \"\" is refused"),
        ("key", r#""a\u0000b""#, "without control characters"),
        ("key", &format!("\"{long}\""), "1 to 512 bytes"),
        ("value", &large, "a value of 49154 bytes is refused: here it may have 49152"),
        ("value", &deep, "deeper than 64 levels"),
        ("value", &digest, "\"blake3:\" and 64 hex digits"),
        ("tags", &tags, "17 tags are refused: a record takes at most 16"),
        ("importance", "1.5", "importance 1.5 is refused"),
        ("ttl_s", "0", "a time to live of 0 s is refused: it is 1 to 3153600000 s"),
        ("origin", r#""tool:""#, "origin \"tool:\" is refused"),
        ("origin", r#""robot:x""#, "\"agent:NAME\""),
        ("embedding", vector, "all of its numbers are zero"),
        ("embedding", not_finite, "is not finite"),
        ("surprise", "1", "unknown field"),
    ] {
        let mut json: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(&format!("{{{base}}}")).expect("valid");
        json.remove(field);
        let mut json = serde_json::to_string(&json).expect("serializes");
        json.pop();
        let error = put(&format!("{json},\"{field}\":{value}}}")).expect_err(field);
        assert!(error.contains(expected), "{field}: {error}");
    }
}

#[test]
fn a_value_of_the_largest_size_and_depth_is_taken() {
    let large = format!("\"{}\"", "x".repeat(VALUE_INLINE_MAX_BYTES - 2));
    assert!(JsonText::parse(large).is_ok());
    assert!(JsonText::parse(format!("{}{}", "[".repeat(64), "]".repeat(64))).is_ok());
    assert!(JsonText::parse(format!("\"{}\"", "[".repeat(65))).is_ok());
    assert!(matches!(JsonText::parse("{"), Err(MemoryError::NotJson { .. })));
    assert!(matches!(JsonText::parse(r#""\ud800""#), Err(MemoryError::NotJson { .. })));
}

#[test]
fn an_embedding_has_length_one_and_at_most_4096_numbers() {
    let model = || ModelName::parse("m").expect("valid");
    let embedding = Embedding::new(model(), vec![3.0, 4.0]).expect("valid");
    assert_eq!(embedding.vector(), [0.6, 0.8]);
    assert!(Embedding::new(model(), vec![1.0; DIMENSION_MAX]).is_ok());
    assert!(matches!(
        Embedding::new(model(), vec![1.0; DIMENSION_MAX + 1]),
        Err(MemoryError::Dimension { dimension: 4_097, max: 4_096 })
    ));
    assert!(Embedding::new(model(), Vec::new()).is_err());
    // The largest numbers there are have a length all the same.
    assert!(Embedding::new(model(), vec![f32::MAX; 9]).is_ok());
}

#[test]
fn an_origin_is_written_as_it_is_read() {
    for text in ["person", "agent:planner", "tool:fetch", "url:example.org"] {
        assert_eq!(Origin::parse(text).map(|origin| origin.to_string()), Ok(text.to_owned()));
    }
}
