//! The bucket's policy: statements that deny what no part of the log does, so that a mistake elsewhere cannot do it either.
//!
//! Must not ask for anything. Invariant: statements of others stay as they are; ours are known by their names.

use serde_json::{Value, json};

use super::Found;

/// How the names of our statements begin.
const OURS: &str = "Strandline";
/// Below these the collector alone deletes. Nodes delete what they say of themselves, and what they tried out.
const KEPT: [&str; 8] = ["journal", "checkpoint", "floor", "segment", "chunk", "index", "table", "inbox"];

/// What the statements are about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) bucket: &'a str,
    pub(super) prefix: &'a str,
    /// `aws`, or another world of regions.
    pub(super) partition: &'a str,
    /// Deny whatever comes without TLS.
    pub(super) secure: bool,
    /// Who may delete; none: nobody is kept from it.
    pub(super) collectors: &'a [String],
}

impl Wanted<'_> {
    fn bucket(&self) -> String {
        format!("arn:{}:s3:::{}", self.partition, self.bucket)
    }

    fn objects(&self, folder: &str) -> String {
        let prefix = if self.prefix.is_empty() { String::new() } else { format!("{}/", self.prefix) };
        format!("{}/{prefix}{folder}/*", self.bucket())
    }

    /// A name of its own for each prefix: there may be several logs in a bucket, and names have letters and digits only.
    fn name(&self, what: &str) -> String {
        let hex = |byte: &u8| format!("{byte:02x}");
        format!("{OURS}{what}{}", self.prefix.as_bytes().iter().map(hex).collect::<String>())
    }

    fn statements(&self) -> Vec<Value> {
        let deny = |name: &str, actions: Value, resources: Value, condition: Value| {
            json!({
                "Sid": self.name(name), "Effect": "Deny", "Principal": "*",
                "Action": actions, "Resource": resources, "Condition": condition,
            })
        };
        let mut statements = vec![deny(
            "ConditionalWrites",
            json!("s3:PutObject"),
            json!(self.objects("journal")),
            // Of an upload in parts only its end has the header.
            json!({ "Null": { "s3:if-none-match": "true" }, "Bool": { "s3:ObjectCreationOperation": "true" } }),
        )];
        if self.secure {
            let bucket = self.bucket();
            statements.push(deny(
                "Tls",
                json!("s3:*"),
                json!([bucket, format!("{bucket}/*")]),
                json!({ "Bool": { "aws:SecureTransport": "false" } }),
            ));
        }
        if !self.collectors.is_empty() {
            statements.push(deny(
                "Deletes",
                json!(["s3:DeleteObject", "s3:DeleteObjectVersion"]),
                KEPT.iter().map(|folder| self.objects(folder)).collect(),
                json!({ "ArnNotLike": { "aws:PrincipalArn": self.collectors } }),
            ));
        }
        statements
    }
}

/// Whether all statements are there. That deletes are bounded is looked at only where it is said who may.
pub(super) fn judge(policy: Option<&str>, wanted: &Wanted<'_>) -> Found {
    let there = match parse(policy) {
        Ok(policy) => statements_of(&policy),
        Err(found) => return found,
    };
    let lacks = |statement: &&Value| !there.iter().any(|one| normal(one) == normal(statement));
    let wanted = wanted.statements();
    let lacking: Vec<&str> =
        wanted.iter().filter(lacks).filter_map(|statement| statement.get("Sid")?.as_str()).collect();
    match lacking.is_empty() {
        true => Found::Good,
        false => Found::Drift(format!("statements are missing or were changed: {}", lacking.join(", "))),
    }
}

/// The policy with our statements.
pub(super) fn with_ours(policy: Option<&str>, wanted: &Wanted<'_>) -> Result<String, Found> {
    let mut policy = parse(policy)?;
    let ours = wanted.statements();
    let is_ours = |one: &Value| ours.iter().any(|statement| statement.get("Sid") == one.get("Sid"));
    let mut statements = statements_of(&policy);
    statements.retain(|one| !is_ours(one));
    statements.extend(ours.iter().cloned());
    if let Some(policy) = policy.as_object_mut() {
        policy.insert("Statement".to_owned(), Value::Array(statements));
    }
    Ok(policy.to_string())
}

fn parse(policy: Option<&str>) -> Result<Value, Found> {
    let Some(policy) = policy else { return Ok(json!({ "Version": "2012-10-17" })) };
    let read: Option<Value> = serde_json::from_str(policy).ok();
    read.filter(Value::is_object)
        .ok_or_else(|| Found::Unknown("the policy that is there cannot be read".to_owned()))
}

fn statements_of(policy: &Value) -> Vec<Value> {
    match policy.get("Statement") {
        Some(Value::Array(statements)) => statements.clone(),
        Some(one) => vec![one.clone()],
        None => Vec::new(),
    }
}

/// The same statement is always the same value: a store may write a list of one as the one, and "everybody" in two ways.
fn normal(value: &Value) -> Value {
    match value {
        Value::Array(items) => match items.as_slice() {
            [one] => normal(one),
            items => {
                let mut items: Vec<Value> = items.iter().map(normal).collect();
                items.sort_by_key(Value::to_string);
                Value::Array(items)
            }
        },
        Value::Object(parts) if parts.len() == 1 && parts.contains_key("AWS") => {
            parts.get("AWS").map(normal).unwrap_or_default()
        }
        Value::Object(parts) => parts.iter().map(|(name, part)| (name.clone(), normal(part))).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn wanted(collectors: &[String]) -> Wanted<'_> {
        Wanted { bucket: "logs", prefix: "prod-1", partition: "aws", secure: true, collectors }
    }

    #[test]
    fn what_was_made_is_good_and_statements_of_others_stay() {
        let roles = ["arn:aws:iam::111122223333:role/collector".to_owned()];
        let theirs = json!({ "Sid": "Theirs", "Effect": "Allow", "Principal": { "AWS": ["*"] }, "Action": "s3:GetObject", "Resource": "arn:aws:s3:::logs/public/*" });
        let before = json!({ "Version": "2012-10-17", "Statement": theirs }).to_string();
        assert!(matches!(judge(Some(&before), &wanted(&roles)), Found::Drift(_)));
        let once = with_ours(Some(&before), &wanted(&roles)).unwrap();
        assert_eq!(judge(Some(&once), &wanted(&roles)), Found::Good);
        assert_eq!(with_ours(Some(&once), &wanted(&roles)).unwrap(), once);
        assert_eq!(statements_of(&serde_json::from_str(&once).unwrap()).first(), Some(&theirs));
    }

    #[test]
    fn a_statement_that_was_changed_is_drift() {
        let made = with_ours(None, &wanted(&[])).unwrap();
        let changed = made.replace("s3:PutObject", "s3:PutObjectTagging");
        assert_ne!(made, changed);
        assert!(matches!(judge(Some(&changed), &wanted(&[])), Found::Drift(_)));
        assert!(matches!(judge(Some("{"), &wanted(&[])), Found::Unknown(_)));
        assert!(matches!(judge(None, &wanted(&[])), Found::Drift(_)));
    }

    #[test]
    fn two_clusters_in_a_bucket_have_statements_of_their_own() {
        let one = with_ours(None, &wanted(&[])).unwrap();
        let other = Wanted { prefix: "prod1", ..wanted(&[]) };
        let both = with_ours(Some(&one), &other).unwrap();
        assert_eq!(judge(Some(&both), &wanted(&[])), Found::Good);
        assert_eq!(judge(Some(&both), &other), Found::Good);
    }

    #[test]
    fn how_a_store_writes_it_is_no_drift() {
        let made = with_ours(None, &wanted(&[])).unwrap();
        let rewritten = made
            .replace(r#""Principal":"*""#, r#""Principal":{"AWS":"*"}"#)
            .replace(r#""s3:PutObject""#, r#"["s3:PutObject"]"#);
        assert_ne!(made, rewritten);
        assert_eq!(judge(Some(&rewritten), &wanted(&[])), Found::Good);
    }
}
