//! The configs of topics and of this broker: names, defaults, rules, meaning.
//!
//! Must not know requests. Invariant: only names and values that Kafka would refuse are refused; what a config does here,
//! or does not do yet, stands in its documentation.

mod change;
mod table;

use std::collections::BTreeMap;

pub(crate) use change::change;
pub use change::check_changes;
pub(crate) use table::TOPIC_CONFIGS;

use strandline_archive::Unfold;
use strandline_core::limits::MAX_CONFIG_VALUE_CHARS;

use crate::node::Node;

/// Kafka's resource types.
pub(crate) const TOPIC: i8 = 2;
/// A broker, by its id; without a name, the default for all of them.
pub(crate) const BROKER: i8 = 4;
/// The log levels of a broker.
pub(crate) const LOGGER: i8 = 8;

/// Where a value comes from, in Kafka's numbers.
pub(crate) mod source {
    /// Set for this topic.
    pub(crate) const TOPIC: i8 = 1;
    /// Set when the broker was started.
    pub(crate) const STATIC_BROKER: i8 = 4;
    /// Nobody set it.
    pub(crate) const DEFAULT: i8 = 5;
}

/// The type of a value, in Kafka's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub(crate) enum Type {
    /// `true` or `false`.
    Boolean = 1,
    /// Any text.
    String = 2,
    /// 32 bits.
    Int = 3,
    /// 64 bits.
    Long = 5,
    /// A fraction.
    Double = 6,
    /// Texts, separated by commas.
    List = 7,
}

/// Which values are good.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rule {
    /// Anything of the type.
    Any,
    /// A number not below this.
    AtLeast(i64),
    /// A number between these.
    Between(i64, i64),
    /// A fraction from 0 to 1.
    Ratio,
    /// One of these; in a list, each element.
    OneOf(&'static [&'static str]),
}

/// A config of a topic.
#[derive(Debug)]
pub(crate) struct TopicConfig {
    /// Kafka's name.
    pub(crate) name: &'static str,
    /// Kafka's default.
    pub(crate) default: &'static str,
    /// The type of its value.
    pub(crate) kind: Type,
    /// Which values are good.
    pub(crate) rule: Rule,
    /// What it does here.
    pub(crate) doc: &'static str,
}

impl TopicConfig {
    /// The config with this name.
    pub(crate) fn named(name: &str) -> Option<&'static TopicConfig> {
        TOPIC_CONFIGS.iter().find(|config| config.name == name)
    }

    /// Why the value is not good.
    fn check(&self, value: &str) -> Result<(), String> {
        let bad = |why: &str| Err(format!("Invalid value {value} for configuration {}: {why}", self.name));
        if value.len() > MAX_CONFIG_VALUE_CHARS {
            return Err(format!(
                "The value for configuration {} has more than {MAX_CONFIG_VALUE_CHARS} bytes",
                self.name
            ));
        }
        let number = || value.trim().parse::<i64>();
        let typed = match self.kind {
            Type::Boolean => matches!(value, "true" | "false"),
            Type::Int => value.trim().parse::<i32>().is_ok(),
            Type::Long => number().is_ok(),
            Type::Double => value.trim().parse::<f64>().is_ok_and(f64::is_finite),
            Type::String | Type::List => true,
        };
        if !typed {
            return bad(match self.kind {
                Type::Boolean => "it must be true or false",
                Type::Double => "it must be a fraction",
                _ => "it must be a whole number",
            });
        }
        match self.rule {
            Rule::AtLeast(least) if number().is_ok_and(|number| number < least) => {
                bad(&format!("it must be at least {least}"))
            }
            Rule::Between(least, most) if number().is_ok_and(|number| !(least..=most).contains(&number)) => {
                bad(&format!("it must be between {least} and {most}"))
            }
            Rule::Ratio if value.trim().parse::<f64>().is_ok_and(|part| !(0.0..=1.0).contains(&part)) => {
                bad("it must be between 0 and 1")
            }
            Rule::OneOf(values) if !self.elements(value).all(|element| values.contains(&element)) => {
                bad(&format!("it must be one of {}", values.join(", ")))
            }
            _ => Ok(()),
        }
    }

    fn elements<'a>(&self, value: &'a str) -> impl Iterator<Item = &'a str> {
        // A list may be empty.
        let list = self.kind == Type::List;
        let separator = if list { ',' } else { '\0' };
        value.split(separator).map(str::trim).filter(move |element| !list || !element.is_empty())
    }
}

/// Checks the configs of a new topic, as CreateTopics does; the later of two with one name counts. The error says what is
/// known.
pub fn check(
    configs: impl IntoIterator<Item = (String, Option<String>)>,
) -> Result<BTreeMap<String, String>, String> {
    let mut checked = BTreeMap::new();
    for (name, value) in configs {
        let Some(config) = TopicConfig::named(&name) else {
            return Err(unknown(&name));
        };
        let value = value.ok_or_else(|| format!("Null value not supported for topic config {name}"))?;
        config.check(&value)?;
        checked.insert(name, value);
    }
    check_together(&checked)?;
    Ok(checked)
}

/// Why configs that are good alone are not good together.
fn check_together(configs: &BTreeMap<String, String>) -> Result<(), String> {
    let of = |name: &str| configs.get(name).map_or("", |value| value.trim());
    let compacts = of("cleanup.policy").split(',').any(|policy| policy.trim() == "compact");
    if compacts && of("strandline.archive.format") == "parquet" {
        return Err("Invalid value parquet for configuration strandline.archive.format: a topic whose \
                    cleanup.policy has compact keeps batches"
            .to_owned());
    }
    let columns = Unfold::of_configs(configs);
    columns.map(drop).map_err(|bad| format!("Invalid value for configuration strandline.value.schema: {bad}"))
}

/// Whether topics have a config of this name.
pub fn is_topic_config(name: &str) -> bool {
    TopicConfig::named(name).is_some()
}

fn unknown(name: &str) -> String {
    let known: Vec<_> = TOPIC_CONFIGS.iter().map(|config| config.name).collect();
    // The name came from a client: kept short.
    let name: String = name.chars().take(100).collect();
    format!("Unknown topic config name: {name}; the known ones are {}", known.join(", "))
}

/// A config with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Described {
    /// Kafka's name.
    pub(crate) name: &'static str,
    /// The value that holds.
    pub(crate) value: String,
    /// The value that would hold if nobody had set one.
    pub(crate) default: Option<&'static str>,
    /// What the default is called among the configs of a broker.
    pub(crate) synonym: &'static str,
    /// Where the value comes from.
    pub(crate) source: i8,
    /// The type of the value.
    pub(crate) kind: Type,
    /// What it does here.
    pub(crate) doc: &'static str,
    /// Whether only a restart changes it.
    pub(crate) read_only: bool,
}

/// What Kafka calls the default of a topic's config among those of a broker.
fn synonym(name: &'static str) -> &'static str {
    table::SYNONYMS.iter().find(|(own, _)| *own == name).map_or(name, |(_, synonym)| synonym)
}

/// All configs of a topic for which these were set.
pub(crate) fn of_topic(set: &BTreeMap<String, String>) -> Vec<Described> {
    let describe = |config: &'static TopicConfig| {
        let value = set.get(config.name);
        Described {
            name: config.name,
            source: if value.is_some() { source::TOPIC } else { source::DEFAULT },
            value: value.map_or_else(|| config.default.to_owned(), String::clone),
            default: Some(config.default),
            synonym: synonym(config.name),
            kind: config.kind,
            doc: config.doc,
            read_only: false,
        }
    };
    TOPIC_CONFIGS.iter().map(describe).collect()
}

/// The configs of this broker that admin clients look for.
pub(crate) fn of_broker(node: &Node, host: &str, port: i32) -> Vec<Described> {
    let described = |name, value: String, source, kind, doc| Described {
        name,
        value,
        default: None,
        synonym: name,
        source,
        kind,
        doc,
        read_only: true,
    };
    let fixed = |name, value: String, kind, doc| described(name, value, source::DEFAULT, kind, doc);
    let set = |name, value: String, kind, doc| described(name, value, source::STATIC_BROKER, kind, doc);
    let default = |name: &str| TopicConfig::named(name).map_or("", |config| config.default).to_owned();
    let partitions = strandline_core::limits::DEFAULT_PARTITIONS.to_string();
    let frame = strandline_core::limits::MAX_FRAME_BYTES.to_string();
    vec![
        set(
            "advertised.listeners",
            format!("PLAINTEXT://{host}:{port}"),
            Type::String,
            "The address told to clients.",
        ),
        fixed(
            "auto.create.topics.enable",
            "true".to_owned(),
            Type::Boolean,
            "Metadata requests create topics.",
        ),
        set("broker.id", node.id.to_string(), Type::Int, "The id of this node."),
        set("broker.rack", node.rack.clone().unwrap_or_default(), Type::String, "The zone of this node."),
        fixed(
            "compression.type",
            default("compression.type"),
            Type::String,
            "Batches stay as producers sent them.",
        ),
        fixed("default.replication.factor", "1".to_owned(), Type::Int, "The object store replicates."),
        fixed("delete.topic.enable", "true".to_owned(), Type::Boolean, "Topics can be deleted."),
        fixed("log.cleanup.policy", default("cleanup.policy"), Type::List, "The default of cleanup.policy."),
        fixed(
            "log.message.timestamp.type",
            default("message.timestamp.type"),
            Type::String,
            "The default of message.timestamp.type.",
        ),
        fixed(
            "log.retention.bytes",
            default("retention.bytes"),
            Type::Long,
            "The default of retention.bytes.",
        ),
        fixed("log.retention.ms", default("retention.ms"), Type::Long, "The default of retention.ms."),
        fixed(
            "message.max.bytes",
            default("max.message.bytes"),
            Type::Int,
            "The default of max.message.bytes.",
        ),
        fixed(
            "min.insync.replicas",
            default("min.insync.replicas"),
            Type::Int,
            "The object store replicates.",
        ),
        set("node.id", node.id.to_string(), Type::Int, "The id of this node."),
        fixed("num.partitions", partitions, Type::Int, "Partitions of a topic when nobody says how many."),
        fixed("socket.request.max.bytes", frame, Type::Int, "The largest Produce; others: 8 MiB."),
    ]
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn defaults_keep_their_own_rules_and_names_are_sorted() {
        for config in TOPIC_CONFIGS {
            config.check(config.default).unwrap();
        }
        assert!(TOPIC_CONFIGS.is_sorted_by_key(|config| config.name));
    }

    #[test]
    fn values_are_checked() {
        let check = |name: &str, value: &str| check([(name.to_owned(), Some(value.to_owned()))]);
        for (name, good) in [
            ("cleanup.policy", "compact,delete"),
            ("cleanup.policy", "compact, delete"),
            ("cleanup.policy", ""),
            ("message.timestamp.type", "LogAppendTime"),
            ("retention.ms", "-1"),
            ("max.message.bytes", "0"),
            ("min.cleanable.dirty.ratio", "1"),
            ("preallocate", "true"),
        ] {
            assert_eq!(check(name, good).unwrap()[name], good);
        }
        for (name, bad) in [
            ("cleanup.policy", "shred"),
            ("cleanup.policy", "delete,shred"),
            ("retention.ms", "-2"),
            ("retention.ms", "soon"),
            ("segment.bytes", "99999999999"),
            ("min.cleanable.dirty.ratio", "NaN"),
            ("preallocate", "maybe"),
            ("message.timestamp.type", "Append"),
            ("message.timestamp.type", ""),
            ("max.message.size", "1"),
        ] {
            check(name, bad).unwrap_err();
        }
    }
}
