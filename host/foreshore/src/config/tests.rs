//! Each row: what somebody writes, and what they are told.

use std::ffi::OsString;
use std::path::Path;

use foreshore_domain::component::ComponentRef;
use foreshore_domain::grant::{Access, Clock};
use foreshore_domain::policy::ComponentPolicy;

use super::*;

fn read_toml(text: &str) -> Result<Config, ConfigError> {
    let path = Path::new("foreshore.toml");
    Config::read([sources::parse_toml(text, path)?], Some(path.to_owned()))
}

fn read_layers(
    toml: &str,
    environment: &[(&str, &str)],
    flags: Overrides,
) -> Result<Config, ConfigError> {
    let variables =
        environment.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let file = sources::parse_toml(toml, Path::new("foreshore.toml"))?;
    let layers = [Some(file), sources::read_environment(variables)?, flags.tree()];
    Config::read(layers.into_iter().flatten(), None)
}

fn policy_of(config: Config, name: &str) -> ComponentPolicy {
    let version = semver::Version::new(1, 2, 3);
    config.policies.into_policies().of(&ComponentRef::new(name, version).expect("a name"))
}

#[test]
fn what_is_wrong_is_answered_with_place_key_and_way_on() {
    let rows = [
        "serve.listen = \"127.0.0.1:0\"",
        "[server]\nlisten = \"everywhere\"",
        "[server]\nlisten = 7433",
        "[server]\nlisten = \"0.0.0.0:7433\"",
        "[limits]\nfeul = 5",
        "[limits]\nfuel = 0",
        "[limits]\nfuel = -1",
        "[limits]\nfuel = \"many\"",
        "[limits]\nmemory_max_bytes = 2_000_000_000",
        "[components.fetch.limits]\n\ndeadline_ms = 0",
        "[components.fetch.limits]\ndeadline_ms = 99_999_999",
        "[components.files]\nmounts = [{ host = \".\", guest = \"data\" }]",
        "[components.files]\nmounts = [{ host = \".\", guest = \"/data\", access = \"read_write\" }]",
        "[components.files]\nmounts = [{ guest = \"/data\" }]",
        "[components.files]\nmounts = \"./notes:/notes:ro\"",
        "[components.files]\nmounts = [{ host = \".\", guest = \"/a\" }, { host = \".\", guest = \"/a\" }]",
        "[components.files]\nmounts = [{ host = \".\", guest = \"/a\", bytes_max = 0 }]",
        "[components.fetch.http]\nallow = [\"GET https://a.example/*\"]\nnetworks = [\"10.0.0.0/33\"]",
        "[components.fetch.http]\nsecrets = [{ name = \"k\", header = \"x-key\" }]",
        "[components.fetch.http]\nsecrets = [{ name = \"k\", header = \"x-key\", query = \"key\", audience = \"a.example\" }]",
        "[components.fetch.http]\nsecrets = [{ name = \"k\", audience = \"a.example\" }]",
        "[components.fetch.http]\nsecrets = [{ name = \"k\", header = \"Host\", audience = \"a.example\" }]",
        "[components.fetch.http]\nsecrets = [{ name = \"k\", query = \"key\", audience = \"*.example\" }]",
        "[components.fetch.http]\nsecrets = [{ name = \"K\", query = \"key\", audience = \"a.example\" }]",
        "[components.fetch.http]\nsecrets = [{ name = \"k\", query = \"key\", audience = \"a.example\" }, { name = \"l\", query = \"key\", audience = \"A.example\" }]",
        "[components.memory.memory]\nnamespaces = [{ name = \"Notes\", access = \"read-write\" }]",
        "[components.memory.memory]\nnamespaces = [{ name = \"kv.other\" }]",
        "[components.memory.memory]\nnamespaces = [{ name = \"notes\", acess = \"read-write\" }]",
        "[components.memory.memory]\nnamespaces = [{ access = \"read-write\" }]",
        "[components.counter]\nkeyvalue = \"yes\"",
        "[components.Files]\nclock = \"fine\"",
        "[components.\"files@1.x\"]\nclock = \"fine\"",
        "[components.files]\nclock = \"atomic\"",
        "[components.files.env]\n\"A=B\" = \"c\"",
        "[runtime]\nslots = 0",
        "[concurrency]\ncalls_max = 0",
        "[budgets.tenant]\ntokens_per_day = 0",
        "[budgets.tenant]\ntokens_a_day = 5",
        "[budgets.agents.assistant]\ncost_per_day = \"much\"",
        "[log]\nformat = \"jsonl\"",
        "[journal]\ncheckpoint_webhook = \"http://audit.example.org/\"",
        "[journal]\ncheckpoint_webhook = \"https://me:pass@audit.example.org/\"",
        "[server]\nlisten = 1\nlisten = 2",
        "data = 99999999999999999999",
    ];
    let told: Vec<String> = rows
        .iter()
        .map(|row| {
            let error = read_toml(row).expect_err(row);
            format!("{row}\n=> {error}\n")
        })
        .collect();
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn nothing_written_means_loopback_no_grants_and_every_limit() {
    let config = read_toml("data = \"/var/lib/foreshore\"").expect("valid");
    assert!(config.sections.server.listen.0.0.ip().is_loopback());
    assert_eq!(config.components_directory, Path::new("/var/lib/foreshore/components"));
    let policy = policy_of(config, "files");
    assert_eq!(policy, ComponentPolicy::default());
    assert!(policy.grant.mounts.is_empty() && policy.grant.http.is_none());
}

#[test]
fn flags_go_before_the_environment_and_that_before_the_file() {
    let toml = "data = \"/file\"\n[limits]\nfuel = 1\ndeadline_ms = 1\n[log]\nfilter = \"warn\"";
    let environment = [
        ("FORESHORE_LIMITS__FUEL", "2"),
        ("FORESHORE_DATA", "/environment"),
        ("FORESHORE_COMPONENTS", "for/the/build"),
        ("PATH", "/bin"),
    ];
    let flags = Overrides::default().flag(&["data"], "--data", Some("/flag"));
    let config = read_layers(toml, &environment, flags).expect("valid");
    assert_eq!(config.data, Path::new("/flag"));
    assert_eq!(config.sections.limits.fuel, Some(2));
    assert_eq!(config.sections.limits.deadline_ms, Some(1));
    assert_eq!(config.sections.log.filter, "warn");
}

#[test]
fn a_variable_holds_what_a_file_could() {
    let environment = [
        ("FORESHORE_DATA", "/data"),
        ("FORESHORE_COMPONENTS__FETCH__HTTP__ALLOW", "[\"GET https://a.example/*\"]"),
        ("FORESHORE_COMPONENTS__FETCH__ENV__LEVEL", "5"),
        ("FORESHORE_COMPONENTS__FETCH__CLOCK", "fine"),
    ];
    let policy =
        policy_of(read_layers("", &environment, Overrides::default()).expect("valid"), "fetch");
    assert_eq!(policy.grant.http.as_ref().expect("granted").allow.len(), 1);
    assert_eq!(policy.grant.env["LEVEL"], "5", "a number is text where text is wanted");
    assert_eq!(policy.grant.clock, Clock::Fine);
}

#[test]
fn a_wrong_variable_is_named() {
    let environment = [("FORESHORE_LIMITS__FUEL", "lots")];
    let error = read_layers("", &environment, Overrides::default()).expect_err("no number");
    assert_eq!(
        error.to_string(),
        "environment variable FORESHORE_LIMITS__FUEL: limits.fuel: \"lots\" where a whole number of 0 or more belongs"
    );
    let environment = [("FORESHORE_LIMITS__FULE", "1")];
    let error = read_layers("", &environment, Overrides::default()).expect_err("no limit");
    assert_eq!(
        error.to_string(),
        "environment variable FORESHORE_LIMITS__FULE: limits: unknown key \"fule\"; did you mean \"fuel\"?"
    );
}

#[test]
fn a_component_section_becomes_a_policy() {
    let config = read_toml(
        r#"
        data = "/data"
        [limits]
        fuel = 7
        [components.files]
        mounts = [{ host = "/srv/notes", guest = "/notes", access = "read-write", bytes_max = 1000 }]
        config = { greeting = "hello" }
        keyvalue = true
        [components.files.memory]
        namespaces = [{ name = "notes" }, { name = "team-*", access = "read-write" }]
        [components.files.limits]
        deadline_ms = 9
        [components."files@1.2.3".limits]
        deadline_ms = 10
        "#,
    )
    .expect("valid");
    let versioned = policy_of(config.clone(), "files");
    assert_eq!((versioned.limits.deadline_ms.get(), versioned.limits.fuel.get()), (10, 7));
    let other = ComponentRef::new("files", semver::Version::new(9, 0, 0)).expect("a name");
    let policy = config.policies.into_policies().of(&other);
    assert_eq!((policy.limits.deadline_ms.get(), policy.limits.fuel.get()), (9, 7));
    let mount = policy.grant.mount_for("/notes/a.txt").expect("granted");
    assert_eq!((mount.access, mount.bytes_max.get()), (Access::ReadWrite, 1000));
    assert_eq!(policy.grant.config.as_ref().expect("granted")["greeting"], "hello");
    assert!(policy.grant.keyvalue);
    let memory = policy.grant.memory.as_ref().expect("granted");
    let granted: Vec<_> =
        memory.namespaces.iter().map(|n| (n.pattern.to_string(), n.access)).collect();
    let expected = [("notes", Access::ReadOnly), ("team-*", Access::ReadWrite)];
    assert_eq!(granted, expected.map(|(name, access)| (name.to_owned(), access)));
}

#[test]
fn a_secret_is_granted_for_one_place_of_requests_to_one_audience() {
    let config = read_toml(
        r#"
        data = "/data"
        [components.fetch.http]
        allow = ["GET https://api.example.org/*"]
        secrets = [
            { name = "api-key", header = "Authorization", prefix = "Bearer ", audience = "api.example.org" },
            { name = "other", query = "key", audience = "localhost:8080" },
            { name = "api-key", body = "token", audience = "api.example.org" },
        ]
        "#,
    )
    .expect("valid");
    let fetch = ComponentRef::new("fetch", semver::Version::new(1, 0, 0)).expect("a name");
    let policies = config.policies.into_policies();
    let grant = policies.of(&fetch).grant;
    let uses = &grant.http.as_ref().expect("granted").secrets;
    let told: Vec<String> = uses
        .iter()
        .map(|each| format!("{} in {} to {}", each.name, each.place, each.audience))
        .collect();
    assert_eq!(
        told,
        [
            "api-key in the header \"authorization\" to api.example.org",
            "other in the query parameter \"key\" to localhost:8080",
            "api-key in the body's field \"token\" to api.example.org",
        ]
    );
    let of = |name: &str| policies.secret_audiences(&name.parse().expect("a name"));
    assert_eq!((of("api-key"), of("other"), of("none")), (1, 1, 0));
}

#[test]
fn budgets_are_by_day_and_for_agents_that_there_are() {
    let config = read_toml(
        r#"
        data = "/data"
        [budgets.tenant]
        tokens_per_day = 1_000_000
        cost_per_day = 2.5
        [budgets.agents.assistant]
        wall_ms_per_day = 3_600_000
        "#,
    );
    let budgets = config.expect("valid").budgets().expect("valid");
    let tenant = (budgets.tenant.tokens, budgets.tenant.cost_micros, budgets.tenant.wall_ms);
    assert_eq!(tenant, (Some(1_000_000), Some(2_500_000), None));
    assert_eq!(budgets.agents["assistant"].wall_ms, Some(3_600_000));
    assert_eq!(budgets.conversation, Default::default());
    for (written, told) in [
        (
            "[budgets.agents.asistant]\ntokens_per_day = 1",
            "foreshore.toml:1: budgets.agents.asistant: no agent is called \"asistant\"; did you mean \"assistant\"?",
        ),
        (
            "[budgets.conversation]\ncost_per_day = 0.0",
            "foreshore.toml:2: budgets.conversation.cost_per_day: 0 is less than a millionth: leave it out for no limit",
        ),
        (
            "[budgets.tenant]\ncost_per_day = -1.0",
            "foreshore.toml:2: budgets.tenant.cost_per_day: -1 is no sum of money: it is above 0, and at most 1000000000",
        ),
    ] {
        let config = read_toml(&format!("{written}\n")).expect("it reads");
        assert_eq!(config.budgets().expect_err("it is refused").to_string(), told);
    }
}

#[test]
fn models_that_are_only_named_need_no_section() {
    let config = read_toml(
        "data = \"/data\"\n[inference]\ndefault_model = \"llama\"\n[agents.assistant]\nmodel = \"qwen\"\nmodels = [\"phi\"]",
    );
    let broker = config.expect("valid").inference().expect("valid").broker;
    assert_eq!(broker.default_model.as_deref(), Some("llama"));
    assert_eq!(broker.named_models.iter().collect::<Vec<_>>(), ["phi", "qwen"]);
}

#[test]
fn what_the_operator_says_goes_before_what_a_component_suggests() {
    let mut config = read_toml("data = \"/d\"\n[limits]\nfuel = 7").expect("valid");
    let suggested = foreshore_domain::limits::LimitsPatch {
        fuel: Some(1_000_000),
        deadline_ms: Some(20_000),
        ..Default::default()
    };
    config.suggest_limits("interpret", &suggested).expect("suggestions that hold");
    let limits = policy_of(config, "interpret").limits;
    assert_eq!((limits.fuel.get(), limits.deadline_ms.get()), (7, 20_000));
}

#[test]
fn toml_and_yaml_say_the_same() {
    let yaml = "
limits:
  fuel: 7
components:
  files:
    mounts:
      - {host: /srv/notes, guest: /notes}
";
    let path = Path::new("foreshore.yaml");
    let tree = sources::parse_yaml(yaml, path).expect("YAML");
    let config = Config::read([tree], None).expect("valid");
    assert_eq!(config.sections.limits.fuel, Some(7));
    let policy = policy_of(config, "files");
    assert_eq!(policy.grant.mounts[0].access, Access::ReadOnly);
    for broken in ["limits: {fuel: [}", "limits:\n  fuel: ~\n", "components: {files: {mount: []}}"]
    {
        let read = sources::parse_yaml(broken, path).and_then(|tree| Config::read([tree], None));
        assert!(read.is_err(), "{broken}");
    }
}

#[test]
fn a_path_in_a_file_is_relative_to_that_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("foreshore.toml");
    let toml =
        "data = \"state\"\n[components.files]\nmounts = [{ host = \"notes\", guest = \"/n\" }]";
    std::fs::write(&path, toml).expect("written");
    let config = Config::read([sources::read_file(&path).expect("read")], None).expect("valid");
    assert_eq!(config.data, directory.path().join("state"));
    let policy = policy_of(config, "files");
    assert_eq!(policy.grant.mounts[0].host, directory.path().join("notes"));
}

#[test]
fn two_files_side_by_side_are_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    for name in ["foreshore.toml", "foreshore.yml"] {
        std::fs::write(directory.path().join(name), "").expect("written");
    }
    let error = sources::find_file(directory.path()).expect_err("two");
    assert!(matches!(error, ConfigError::TwoFiles { .. }), "{error}");
}

#[test]
fn printed_configuration_says_where_each_value_is_from_and_hides_what_may_be_secret() {
    let toml = "data = \"/data\"\n[components.fetch.env]\nTOKEN = \"hunter2\"\n[limits]\nfuel = 5";
    let environment = [("FORESHORE_LIMITS__DEADLINE_MS", "100")];
    let config = read_layers(toml, &environment, Overrides::default()).expect("valid");
    let written = config.written(print::Secrets::Redacted);
    let lines: Vec<Vec<&str>> =
        written.lines().map(|line| line.splitn(2, " # ").map(str::trim).collect()).collect();
    let expected: [&[&str]; 8] = [
        &["data = \"/data\"", "foreshore.toml:1"],
        &[""],
        &["[components.fetch.env]"],
        &["TOKEN = \"<redacted>\"", "foreshore.toml:3"],
        &[""],
        &["[limits]"],
        &["deadline_ms = 100", "environment variable FORESHORE_LIMITS__DEADLINE_MS"],
        &["fuel = 5", "foreshore.toml:5"],
    ];
    assert_eq!(lines, expected);
    assert!(config.written(print::Secrets::Shown).contains("hunter2"));
    assert!(!config.effective(print::Secrets::Redacted).contains("hunter2"));
}

#[test]
fn the_effective_configuration_is_itself_a_valid_file() {
    let config = read_toml("data = \"/data\"\n[limits]\nfuel = 5").expect("valid");
    let printed = config.effective(print::Secrets::Shown);
    let again = read_toml(&printed).unwrap_or_else(|error| panic!("{error}\n{printed}"));
    assert_eq!(again.data, config.data);
    assert_eq!(policy_of(again, "files").limits, policy_of(config, "files").limits, "{printed}");
}
