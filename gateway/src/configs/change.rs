//! Changes of a topic's configs: may they be made?
//!
//! Must not know requests. Invariant: what passes here leaves every config that it sets with a value that is good.

use std::collections::BTreeMap;

use strandline_core::manifest::{ConfigChange, ConfigOp};

use super::{TopicConfig, Type, check_together, unknown};

/// Checks changes of a topic that has these configs, as IncrementalAlterConfigs does (KIP-339), and gives those that it would
/// have afterwards. `replace`: those that no change names go back to their defaults. The error says what is wrong.
pub fn check_changes(
    current: &BTreeMap<String, String>,
    replace: bool,
    changes: &[ConfigChange],
) -> Result<BTreeMap<String, String>, String> {
    let mut configs = if replace { BTreeMap::new() } else { current.clone() };
    for change in changes {
        let name = &change.name;
        let verb = match &change.op {
            ConfigOp::Set(_) | ConfigOp::Delete => None,
            ConfigOp::Append { .. } => Some("APPEND"),
            ConfigOp::Subtract { .. } => Some("SUBTRACT"),
        };
        let config = match (TopicConfig::named(name), &change.op) {
            // Kafka takes it: the config is not set afterwards.
            (_, ConfigOp::Delete) => {
                change.alter(&mut configs);
                continue;
            }
            (None, _) => return Err(unknown(name)),
            (Some(config), _) => config,
        };
        if let (Some(verb), true) = (verb, config.kind != Type::List) {
            return Err(format!("Can't {verb} to key {name} because its type is not LIST."));
        }
        change.alter(&mut configs);
        config.check(configs.get(name).map_or("", String::as_str))?;
    }
    check_together(&configs)?;
    Ok(configs)
}

/// The change that KIP-339 calls SET, DELETE, APPEND or SUBTRACT; `None`: there is no such operation, or it lacks its value.
pub(crate) fn change(name: String, operation: i8, value: Option<String>) -> Option<ConfigChange> {
    let default = || TopicConfig::named(&name).map_or("", |config| config.default).to_owned();
    let op = match (operation, value) {
        (0, Some(value)) => ConfigOp::Set(value),
        (1, _) => ConfigOp::Delete,
        (2, Some(elements)) => ConfigOp::Append { elements, default: default() },
        (3, Some(elements)) => ConfigOp::Subtract { elements, default: default() },
        _ => return None,
    };
    Some(ConfigChange { name, op })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn lists_grow_and_shrink_from_their_default_and_stay_good() {
        let check = |steps: &[(&str, i8, &str)]| {
            let changes: Vec<_> = steps
                .iter()
                .map(|(name, operation, value)| {
                    change((*name).to_owned(), *operation, Some((*value).to_owned())).unwrap()
                })
                .collect();
            check_changes(&BTreeMap::from([("retention.ms".into(), "5".into())]), false, &changes)
        };
        let policy = "cleanup.policy";
        for (steps, expected) in [
            (&[(policy, 2, "compact")][..], "delete,compact"),
            (&[(policy, 2, "delete, compact")], "delete,compact"),
            (&[(policy, 2, "compact"), (policy, 3, "delete")], "compact"),
            (&[(policy, 3, "delete")], ""),
        ] {
            let configs = check(steps).unwrap();
            assert_eq!((configs[policy].as_str(), configs["retention.ms"].as_str()), (expected, "5"));
        }
        for (step, why) in [
            ((policy, 2, "shred"), "Invalid value delete,shred"),
            (("retention.ms", 2, "1"), "Can't APPEND to key retention.ms because its type is not LIST."),
            (("retention.ms", 3, "1"), "Can't SUBTRACT to key retention.ms because its type is not LIST."),
            (("retention.ms", 0, "soon"), "Invalid value soon for configuration retention.ms"),
            (("no.such", 0, "1"), "Unknown topic config name: no.such"),
        ] {
            let said = check(&[step]).unwrap_err();
            assert!(said.starts_with(why), "{said}");
        }
        assert_eq!(check(&[("no.such", 1, "")]).unwrap().len(), 1, "as in Kafka");
        assert!(change(policy.into(), 4, None).is_none() && change(policy.into(), 0, None).is_none());
    }

    #[test]
    fn what_is_replaced_is_gone() {
        let current = BTreeMap::from([("retention.ms".to_owned(), "5".to_owned())]);
        let set = change("segment.ms".into(), 0, Some("7".into())).unwrap();
        let configs = check_changes(&current, true, &[set]).unwrap();
        assert_eq!(configs, BTreeMap::from([("segment.ms".to_owned(), "7".to_owned())]));
    }
}
