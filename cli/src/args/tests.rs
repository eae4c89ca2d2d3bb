//! What may be typed and what it comes to.

use clap::CommandFactory;

use super::*;

fn parse(line: &str) -> Result<Command, clap::Error> {
    let words = std::iter::once("strandline").chain(line.split_whitespace());
    Cli::try_parse_from(words).map(|cli| cli.command)
}

fn serve(line: &str) -> ServeArgs {
    match parse(line) {
        Ok(Command::Serve(args)) => args,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn the_table_of_arguments_is_sound() {
    Cli::command().debug_assert();
}

/// Help is written by hand in places: it must name the values that the code uses.
#[test]
fn serve_without_flags_uses_the_limits() {
    let args = serve("serve");
    assert_eq!(args.store.url, "file:./strandline-data");
    assert_eq!(args.kafka.to_string(), "127.0.0.1:9092");
    assert_eq!(args.http.0.map(|a| a.to_string()).as_deref(), Some("127.0.0.1:9080"));
    assert_eq!((args.node_id, args.listeners.len()), (None, 0));
    assert_eq!(args.cache_bytes, limits::CACHE_BYTES_DEFAULT);
    assert_eq!(args.inline_max, limits::INLINE_MAX_BYTES_DEFAULT);
    assert_eq!(args.segment_bytes, limits::SEGMENT_BYTES_DEFAULT);
    assert_eq!((args.flush_interval, args.advertise, args.rack), (None, None, None));
}

#[test]
fn serve_flags_are_read() {
    let args = serve(
        "serve --store memory: --kafka 0.0.0.0:1 --advertise [::1]:7 --http off --node-id 1073741824 --rack a \
         --cache-bytes 1MiB --flush-interval 0 --inline-max 0 --segment-bytes 64KiB --log-format json",
    );
    assert_eq!(args.advertise, Some(HostPort("::1".to_owned(), 7)));
    assert_eq!(args.http, HttpAddress(None));
    assert_eq!(
        (args.node_id, args.cache_bytes, args.inline_max, args.segment_bytes),
        (Some(1 << 30), 1 << 20, 0, 1 << 16)
    );
    assert_eq!(args.flush_interval, Some(Duration::ZERO));
}

#[test]
fn listeners_are_read() {
    let args = serve("serve --listener in=127.0.0.1:1 --listener out=0.0.0.0:2=b.example:3,v6=[::1]:4");
    let read = args.listeners.iter().map(|at| (at.name.as_str(), at.bind.to_string(), at.advertise.clone()));
    let told = Some(HostPort("b.example".to_owned(), 3));
    let expected = [("in", "127.0.0.1:1", None), ("out", "0.0.0.0:2", told), ("v6", "[::1]:4", None)];
    let expected = expected.map(|(name, bind, told)| (name, bind.to_owned(), told));
    assert_eq!(read.collect::<Vec<_>>(), expected);
}

#[test]
fn what_cannot_work_is_refused_with_code_2() {
    for line in [
        "topic",
        "no-such-command",
        "serve --no-such-flag",
        "serve --flush-interval soon",
        "serve --node-id 0",
        "serve --node-id 1073741825",
        "serve --kafka nowhere",
        "serve --advertise :9092",
        "serve --listener 127.0.0.1:9092",
        "serve --listener =127.0.0.1:9092",
        "serve --listener a_b=127.0.0.1",
        "serve --listener a=127.0.0.1:9092=x",
        "serve --inline-max 1GiB",
        "serve --segment-bytes 1KiB",
        "serve --log-level =what=",
        "topic create t --partitions 0",
        "topic create t --partitions 10001",
        "topic create t --config novalue",
        "topic alter t --partitions 0",
        "topic alter t --config novalue",
        "consume t --offset -1",
        "consume t --offset @yesterday",
        "bench --record-bytes 1GiB",
        "inspect",
        "scrub x: --shard 7f..00",
        "scrub x: --shard 100",
        "scrub x: --shard 0..f",
        "scrub x: --from -1",
        "scrub x: --concurrency 0",
    ] {
        let code = parse(line).err().map(|e| e.exit_code());
        assert_eq!(code, Some(2), "{line}");
    }
}

#[test]
fn where_reading_starts() {
    for (text, start) in [
        ("earliest", Start::Earliest),
        ("latest", Start::Latest),
        ("57", Start::Offset(57)),
        ("@1700000003500", Start::Time(1_700_000_003_500)),
        ("@2023-11-14T22:13:23.500Z", Start::Time(1_700_000_003_500)),
    ] {
        assert_eq!(text.parse(), Ok(start));
    }
}

#[test]
fn the_store_may_stand_anywhere() {
    for line in ["topic --store memory: list", "topic list --store memory:"] {
        let Ok(Command::Topic(args)) = parse(line) else { panic!("{line}") };
        assert_eq!(args.store.url, "memory:");
    }
}

#[test]
fn shards_are_a_range_or_one() {
    for (text, expected) in [("00..7f", Shards(0, 127)), ("3C", Shards(60, 60)), ("00..ff", Shards(0, 255))] {
        assert_eq!(shards(text), Ok(expected));
    }
}

#[test]
fn separators_may_be_escaped() {
    assert_eq!(separator("\\t"), Ok("\t".to_owned()));
    assert_eq!(separator(": "), Ok(": ".to_owned()));
    assert!(separator("").is_err());
}
