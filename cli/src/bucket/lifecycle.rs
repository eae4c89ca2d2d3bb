//! Lifecycle rules: what may be removed by the bucket itself. Only uploads that were never finished; what is an object, the log
//! alone may delete.
//!
//! Must not ask for anything. Invariant: rules of others stay as they are.

use aws_sdk_s3::types::{
    AbortIncompleteMultipartUpload, ExpirationStatus, LifecycleRule, LifecycleRuleFilter,
};

use super::Found;

/// The name of our rule.
const OURS: &str = "strandline-unfinished-uploads";
/// Days after which an upload is not finished any more. Compactors take minutes.
const DAYS: i32 = 1;
/// More than this is not too soon, but it is paid for.
const DAYS_AT_MOST: i32 = 7;

/// Whether unfinished uploads go, and nothing else of the prefix does.
pub(super) fn judge(rules: &[LifecycleRule], prefix: &str) -> Found {
    let log = below(prefix);
    let enabled = || rules.iter().filter(|rule| *rule.status() == ExpirationStatus::Enabled);
    let deletes = |rule: &&LifecycleRule| {
        let expires = rule.expiration().is_some_and(|of| of.days().is_some() || of.date().is_some());
        let touches = log.starts_with(prefix_of(rule)) || prefix_of(rule).starts_with(&log);
        touches && (expires || !rule.transitions().is_empty())
    };
    if let Some(rule) = enabled().find(deletes) {
        let name = rule.id().unwrap_or("without a name");
        return Found::Harm(format!(
            "the lifecycle rule {name} deletes or moves objects of the log: take it away"
        ));
    }
    let aborts = |rule: &LifecycleRule| {
        let days = rule.abort_incomplete_multipart_upload().and_then(|of| of.days_after_initiation());
        days.is_some_and(|days| days <= DAYS_AT_MOST) && log.starts_with(prefix_of(rule))
    };
    match enabled().any(aborts) {
        true => Found::Good,
        false => Found::Drift("uploads that were never finished stay, and are paid for".to_owned()),
    }
}

/// The rules with ours.
pub(super) fn with_ours(mut rules: Vec<LifecycleRule>, prefix: &str) -> Result<Vec<LifecycleRule>, Found> {
    // One for each log: there may be several in a bucket.
    let name = if prefix.is_empty() { OURS.to_owned() } else { format!("{OURS}-{prefix}") };
    rules.retain(|rule| rule.id() != Some(name.as_str()));
    let ours = LifecycleRule::builder()
        .id(name)
        .status(ExpirationStatus::Enabled)
        .filter(LifecycleRuleFilter::builder().prefix(below(prefix)).build())
        .abort_incomplete_multipart_upload(
            AbortIncompleteMultipartUpload::builder().days_after_initiation(DAYS).build(),
        );
    rules.push(ours.build().map_err(|error| Found::Unknown(error.to_string()))?);
    Ok(rules)
}

/// What the keys of the log begin with.
fn below(prefix: &str) -> String {
    if prefix.is_empty() { String::new() } else { format!("{prefix}/") }
}

/// What the keys begin with that a rule is about.
fn prefix_of(rule: &LifecycleRule) -> &str {
    #[allow(deprecated)]
    let of_rule = rule.prefix();
    let of_filter =
        rule.filter().and_then(|filter| filter.prefix().or(filter.and().and_then(|and| and.prefix())));
    of_filter.or(of_rule).unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use aws_sdk_s3::types::LifecycleExpiration;

    fn expiring(prefix: &str, status: ExpirationStatus) -> LifecycleRule {
        LifecycleRule::builder()
            .id("old")
            .status(status)
            .filter(LifecycleRuleFilter::builder().prefix(prefix).build())
            .expiration(LifecycleExpiration::builder().days(30).build())
            .build()
            .unwrap()
    }

    #[test]
    fn a_rule_that_deletes_what_the_log_needs_is_harm() {
        for (prefix, harms) in [
            ("", true),
            ("main", true),
            ("main/", true),
            ("main/journal/", true),
            ("ma", true),
            ("mainland/", false),
            ("other/", false),
        ] {
            let rules = with_ours(vec![expiring(prefix, ExpirationStatus::Enabled)], "main").unwrap();
            assert_eq!(matches!(judge(&rules, "main"), Found::Harm(_)), harms, "{prefix:?}");
            let rules = with_ours(vec![expiring(prefix, ExpirationStatus::Disabled)], "main").unwrap();
            assert_eq!(judge(&rules, "main"), Found::Good, "{prefix:?}");
        }
    }

    #[test]
    fn unfinished_uploads_go_and_rules_of_others_stay() {
        let theirs = expiring("other/", ExpirationStatus::Enabled);
        assert!(matches!(judge(std::slice::from_ref(&theirs), "main"), Found::Drift(_)));
        let once = with_ours(vec![theirs.clone()], "main").unwrap();
        assert_eq!(judge(&once, "main"), Found::Good);
        assert_eq!(once.first(), Some(&theirs));
        assert_eq!(with_ours(once.clone(), "main").unwrap(), once);
        let both = with_ours(once, "mainland").unwrap();
        assert_eq!(
            (judge(&both, "main"), judge(&both, "mainland"), both.len()),
            (Found::Good, Found::Good, 3)
        );
        assert!(matches!(judge(&both, "third"), Found::Drift(_)));
    }
}
