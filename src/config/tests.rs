//! Configuration as a whole: defaults, precedence, and every mistake at once.

use std::path::Path;

use super::*;

fn from_text(text: &str) -> Result<Config, Vec<String>> {
    from_text_and(text, &Overrides::default())
}

fn from_text_and(text: &str, overrides: &Overrides) -> Result<Config, Vec<String>> {
    let mut config = Config::defaults(&Host::SMALL);
    let mut mistakes = Mistakes::default();
    let explicit = file::apply_text(&mut config, Path::new("h.toml"), text, &mut mistakes);
    config.override_with(overrides, &mut mistakes);
    config.validate(&explicit, &mut mistakes);
    if mistakes.is_empty() {
        return Ok(config);
    }
    Err(mistakes.iter().map(ToString::to_string).collect())
}

fn mistakes(text: &str) -> Vec<String> {
    from_text(text).unwrap_err()
}

#[test]
fn an_empty_file_gives_the_defaults() {
    let config = from_text("").unwrap();
    assert_eq!(config.listen, ["127.0.0.1:8080".parse().unwrap()]);
    assert_eq!(config.admin, "127.0.0.1:9090".parse().unwrap());
    assert_eq!(config.shards, 2);
    assert_eq!(config.memory_bytes, 256 << 20);
    assert_eq!(config.object_bytes_max, 256 << 20);
    assert_eq!(config.tx, Tx::Auto);
    assert_eq!(config.access.who(Right::Publish), Who::Anyone);
    assert_eq!(config.timeouts, Timeouts::DEFAULT);
    assert!(config.cors);
    assert!(config.access_log.is_none());
}

#[test]
fn memory_by_default_has_two_ends() {
    let memory = |available| {
        Config::defaults(&Host { cores: 1, memory_available_bytes: available }).memory_bytes
    };
    assert_eq!(memory(0), 64 << 20);
    assert_eq!(memory(8 << 30), 2 << 30);
    assert_eq!(memory(1 << 40), 16 << 30);
}

#[test]
fn the_example_sets_every_key() {
    let text = include_str!("../../docs/headwater.toml");
    assert!(from_text(text).is_ok(), "{:?}", from_text(text));
    // Every line that is commented out is sound as well, one by one it would be just the same.
    let enabled: String = text
        .lines()
        .map(|line| format!("{}\n", line.strip_prefix("#: ").unwrap_or(line)))
        .collect();
    let config = from_text(&enabled).unwrap_or_else(|mistakes| panic!("{mistakes:#?}"));
    assert_eq!(config.access.who(Right::Publish), Who::Token);
    assert!(!config.paths.is_empty());
    assert!(config.access_log.is_some());
}

/// The reader itself lists the keys it knows when it meets one that is like none of them.
#[test]
fn every_key_is_in_the_manual_and_the_example() {
    let manual = include_str!("../../docs/CONFIGURATION.md");
    let example = include_str!("../../docs/headwater.toml");
    let mut seen = 0;
    for section in [
        "",
        "[publish]",
        "[read]",
        "[[token]]",
        "[[url_key]]",
        "[mediastore]",
        "[[aws_key]]",
        "[momento]",
        "[disk]",
        "[timeouts]",
        "[access_log]",
        "[log]",
        "[[path]]",
        "[[topic]]",
    ] {
        let reason = mistakes(&format!("{section}\nqqqqqqqq = 1")).join("\n");
        let keys = reason.split("the keys here are ").nth(1).expect(&reason);
        let chapter = manual.split("\n## ").nth(1).expect("the chapter of keys");
        let head = if section.is_empty() { "Keys".to_owned() } else { format!("### `{section}`") };
        let chapter = &chapter[chapter.find(&head).expect(&head)..];
        let chapter = chapter[1..].split("\n### ").next().expect("the section");
        for key in keys.lines().next().expect("one line").split(", ") {
            let row = ["|`KEY`|", "|`[KEY]`|", "|`[[KEY]]`|"]
                .iter()
                .any(|row| chapter.contains(&row.replace("KEY", key)));
            assert!(row, "{section} {key} is not in the manual");
            assert!(example.contains(key), "{section} {key} is not in the example");
            seen += 1;
        }
    }
    assert!(seen >= 83, "{seen} keys were found");
}

#[test]
fn values_arrive_where_they_belong() {
    let config = from_text(
        r#"
        listen = ["127.0.0.1:1", "[::1]:2"]
        admin = "127.0.0.1:3"
        shards = 7
        memory_bytes = "512MiB"
        tx = "zc"
        connections_max = 1_000
        object_bytes_max = 0x1000
        cors = false
        [timeouts]
        head_ms = 1000
        idle_ms = 2000
        body_idle_ms = 3000
        send_rate_min_bytes_per_s = "4K"
        send_rate_window_ms = 5000
        drain_ms = 0
        linger_ms = 7
        [access_log]
        path = "access.log"
        format = "json"
        sample = 10
        [log]
        level = "debug"
        format = "human"
        [[path]]
        pattern = "live/*"
        ttl_seconds = 30
        [[path]]
        pattern = "**"
        ttl_ms = 1_500
        cache_control = "max-age=5"
        cache_manifest_s = 0
        cache_segment_s = 1
        cache_init_s = 2
        cache_error_s = 3
        object_bytes_max = "1KiB"
        immutable = true
        streaming = false
        gzip = true
        strict_ingest = true
        cmsd = true
        cmsd_dynamic = true
        whole_ladder = true
        on_full = "evict"
        "#,
    )
    .unwrap();
    assert_eq!(config.listen.len(), 2);
    assert!(config.listen[1].is_ipv6());
    assert_eq!(config.shards, 7);
    assert_eq!(config.memory_bytes, 512 << 20);
    assert_eq!(config.object_bytes_max, 4096);
    assert_eq!(config.tx, Tx::Zc);
    assert_eq!(config.connections_max, Some(1000));
    assert!(!config.cors);
    assert_eq!(config.timeouts.head_ms, 1000);
    assert_eq!(config.timeouts.send_rate_min_bytes_per_s, 4096);
    assert_eq!(config.timeouts.drain_ms, 0);
    assert_eq!(
        config.access_log,
        Some(AccessLogConfig {
            path: Some("access.log".into()),
            format: AccessFormat::Json,
            sample: 10
        })
    );
    assert_eq!(config.log, LogConfig { level: LogLevel::Debug, format: LogFormat::Human });
    assert_eq!(config.paths.ttl_ms(b"live/a"), Some(30_000));
    assert_eq!(config.paths.ttl_ms(b"vod/a"), Some(1_500));
    let rule = config.paths.iter().last().unwrap();
    assert_eq!((rule.cache_manifest_s, rule.cache_segment_s), (Some(0), Some(1)));
    assert_eq!((rule.cache_init_s, rule.cache_error_s), (Some(2), Some(3)));
    assert_eq!((rule.object_bytes_max, rule.immutable), (Some(1024), Some(true)));
    assert_eq!(rule.strict_ingest, Some(true));
    assert_eq!((rule.gzip, rule.cmsd), (Some(true), Some(true)));
    assert_eq!((rule.cmsd_dynamic, rule.whole_ladder), (Some(true), Some(true)));
    assert_eq!((rule.streaming, rule.on_full), (Some(false), Some(OnFull::Evict)));
    let text = config.paths.first(b"vod/a", |rule| rule.cache_control.as_deref());
    assert_eq!(text, Some(&b"max-age=5"[..]));
}

#[test]
fn all_mistakes_come_at_once_with_line_and_key() {
    let found = mistakes(
        "listen = [\"127.0.0.1\", \"127.0.0.1:80\"]\n\
         shard = 3\n\
         memory_bytes = \"lots\"\n\
         tx = \"mmap\"\n\
         \n\
         [timeouts]\n\
         idle_ms = \"long\"\n\
         head_ms = 1\n\
         idel_ms = 2\n\
         [[path]]\n\
         pattern = \"/a\"\n\
         [[path]]\n\
         ttl_seconds = 0\n\
         [log]\n\
         level = \"loud\"\n\
         [access_log]\n\
         format = \"xml\"\n",
    );
    for (start, words) in [
        ("h.toml:1: listen[0]: ", "127.0.0.1:8080"),
        ("h.toml:2: shard: ", "did you mean \"shards\"?"),
        ("h.toml:3: memory_bytes: ", "512MiB"),
        ("h.toml:4: tx: ", "auto, zc, splice or copy"),
        ("h.toml:7: timeouts.idle_ms: ", "found \"long\""),
        ("h.toml:8: timeouts.head_ms: ", "100 to 86400000, found 1"),
        ("h.toml:9: timeouts.idel_ms: ", "did you mean \"idle_ms\"?"),
        ("h.toml:11: path[0].pattern: ", "no leading slash"),
        ("h.toml:10: path[0]: ", "has no effect"),
        ("h.toml:13: path[1].ttl_seconds: ", "found 0"),
        ("h.toml:12: path[1].pattern: ", "is missing"),
        ("h.toml:15: log.level: ", "error, warn, info"),
        ("h.toml:17: access_log.format: ", "common, combined, json"),
        ("h.toml:16: access_log.path: ", "is missing"),
    ] {
        assert!(
            found.iter().any(|line| line.starts_with(start) && line.contains(words)),
            "{start}... {words}\nin {found:#?}"
        );
    }
    assert_eq!(found.len(), 14, "{found:#?}");
}

#[test]
fn syntax_errors_have_lines_and_hide_no_other_syntax_error() {
    let found = mistakes("listen = \nshards = 2\ncors = maybe\n");
    assert!(found.iter().any(|line| line.starts_with("h.toml:1: ")), "{found:#?}");
    assert!(found.iter().any(|line| line.starts_with("h.toml:3: ")), "{found:#?}");
}

#[test]
fn flags_override_the_file() {
    let overrides = Overrides {
        listen: vec!["127.0.0.1:5".parse().unwrap()],
        shards: Some(3),
        memory_bytes: Some(64 << 20),
        tx: Some(Tx::Copy),
        congestion: Some("reno".into()),
        ..Overrides::default()
    };
    let config = from_text_and("listen = \"127.0.0.1:1\"\nshards = 9\n", &overrides).unwrap();
    assert_eq!(config.listen, ["127.0.0.1:5".parse().unwrap()]);
    assert_eq!(config.shards, 3);
    assert_eq!(config.memory_bytes, 64 << 20);
    assert_eq!(config.object_bytes_max, 64 << 20);
    assert_eq!(config.tx, Tx::Copy);
    assert_eq!(config.congestion.as_deref(), Some("reno"));
}

#[test]
fn flags_are_held_to_the_same_ranges() {
    let overrides = Overrides { shards: Some(0), memory_bytes: Some(1), ..Overrides::default() };
    let found = from_text_and("", &overrides).unwrap_err();
    assert!(found[0].starts_with("--shards: "), "{found:?}");
    assert!(found[1].starts_with("--memory: "), "{found:?}");
}

#[test]
fn strangers_never_write_without_a_token() {
    for listen in ["0.0.0.0:8080", "[::]:8080", "192.0.2.1:80", "[2001:db8::1]:80"] {
        let found = mistakes(&format!("listen = [\"127.0.0.1:1\", \"{listen}\"]"));
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("h.toml:1: listen: "), "{found:?}");
        assert!(found[0].contains(listen) && found[0].contains("--publish-token-file"));
        let overrides = Overrides { listen: vec![listen.parse().unwrap()], ..Overrides::default() };
        assert!(from_text_and("", &overrides).unwrap_err()[0].starts_with("listen: "));
        let text = format!("listen = \"{listen}\"\n[publish]\ntokens = [\"0123456789abcdef\"]\n");
        assert_eq!(from_text(&text).unwrap().access.who(Right::Publish), Who::Token);
    }
    for listen in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
        let config = from_text(&format!("listen = \"{listen}\"")).unwrap();
        assert_eq!(config.access.who(Right::Publish), Who::Anyone, "{listen}");
    }
}

#[test]
fn a_token_is_wanted_on_loopback_too_once_it_is_set() {
    let config = from_text("[publish]\ntokens = [\"0123456789abcdef\"]").unwrap();
    assert_eq!(config.access.who(Right::Publish), Who::Token);
    assert!(config.access.tokens.admit(b"Bearer 0123456789abcdef"));
}

#[test]
fn a_token_file_that_fails_is_the_only_mistake() {
    let found = mistakes("listen = \"0.0.0.0:1\"\n[publish]\ntoken_file = \"missing/tokens\"\n");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("h.toml:3: publish.token_file: cannot open"), "{found:?}");
}

#[test]
fn addresses_do_not_collide() {
    let found = mistakes("listen = [\"127.0.0.1:1\", \"127.0.0.1:1\"]\nadmin = \"127.0.0.1:1\"");
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        from_text("listen = [\"127.0.0.1:0\", \"127.0.0.1:0\"]\nadmin=\"127.0.0.1:0\"").is_ok()
    );
    assert!(mistakes("listen = []")[0].contains("at least one"));
}

#[test]
fn an_object_must_fit_the_memory() {
    let found = mistakes("memory_bytes = \"64MiB\"\nobject_bytes_max = \"65MiB\"");
    assert!(found[0].starts_with("h.toml:2: object_bytes_max: "), "{found:?}");
}

#[test]
fn connections_leave_room_for_everything_else() {
    let mut config = Config::defaults(&Host::SMALL);
    assert_eq!(config.connections_max_within(20_000), 20_000 - 96 - 2 * 516);
    assert_eq!(config.connections_max_within(64), 32);
    assert_eq!(config.connections_max_within(0), 1);
    config.connections_max = Some(100);
    assert_eq!(config.connections_max_within(20_000), 100);
    assert_eq!(config.connections_max_within(64), 32);
}

#[test]
fn settings_of_paths_that_would_mislead_are_mistakes() {
    let path = "[[path]]\npattern = \"live/**\"\n";
    for (line, key, words) in [
        ("read_allow = []", "path[0].read_allow", "for nobody write read = \"nobody\""),
        ("write_allow = []", "path[0].write_allow", "\"0.0.0.0/0\", \"::/0\""),
        ("cors_max_age_s = 5", "path[0]", "set cors_origins too"),
        ("part_target_ms = 500", "path[0].part_target_ms", "without ll = true in any rule"),
        ("part_target_ms = 500\nll = false", "path[0].part_target_ms", "where ll = false"),
        ("pipelines = [\"a\"]", "path[0].pipelines", "without redundant = \"priority\" in any"),
        ("pipelines = [\"a\"]\nredundant = \"last\"", "path[0].pipelines", "\"priority\" in any"),
        ("failover_ms = 900", "path[0].failover_ms", "without redundant = \"first\""),
        ("failover_ms = 900\nredundant = \"off\"", "path[0].failover_ms", "has no effect"),
        ("", "path[0]", "has no effect; set one of ttl_seconds"),
    ] {
        let found = mistakes(&format!("{path}{line}\n"));
        let named = format!(": {key}: ");
        assert!(
            found.iter().any(|found| found.contains(&named) && found.contains(words)),
            "{line}: {found:?}"
        );
        assert!(found.iter().all(|found| found.starts_with("h.toml:")), "{found:?}");
    }
    let apart = format!("{path}part_target_ms = 500\n[[path]]\npattern = \"**\"\nll = true\n");
    assert!(from_text(&apart).is_ok());
    let order = "pipelines = [\"a\"]\nfailover_ms = 900\n";
    let apart = format!("{path}{order}[[path]]\npattern = \"**\"\nredundant = \"priority\"\n");
    assert!(from_text(&apart).is_ok());
    assert!(from_text(&format!("{path}read_deny = []\n")).is_ok());
}
