//! What stands in the path, the query and the headers of a request, checked.
//!
//! Must not know handlers. Invariant: what is not known is refused, so that a misspelt parameter is not silently without
//! effect.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use chrono::{DateTime, NaiveDateTime};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use strandline_reader::{Isolation, OffsetSpec};
use utoipa::ToSchema;

use super::problem::{Kind, Problem};

/// The query.
pub(super) struct Params<T>(pub(super) T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Params<T>, Problem> {
        let read = Query::<T>::try_from_uri(&parts.uri);
        let invalid = |error: axum::extract::rejection::QueryRejection| {
            Problem::new(Kind::InvalidRequest, error.body_text())
        };
        read.map(|Query(params)| Params(params)).map_err(invalid)
    }
}

/// A query that may hold nothing.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// The variable parts of the path.
pub(super) struct Place<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Place<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Place<T>, Problem> {
        let read = Path::<T>::from_request_parts(parts, state).await;
        let invalid = |error: axum::extract::rejection::PathRejection| {
            Problem::new(Kind::InvalidRequest, error.body_text())
        };
        read.map(|Path(place)| Place(place)).map_err(invalid)
    }
}

/// A number within bounds, or its default.
pub(super) fn within<N: PartialOrd + Display + Copy>(
    name: &str,
    number: Option<N>,
    default: N,
    bounds: RangeInclusive<N>,
) -> Result<N, Problem> {
    let number = number.unwrap_or(default);
    match bounds.contains(&number) {
        true => Ok(number),
        false => {
            let (least, most) = (bounds.start(), bounds.end());
            let detail = format!("{name} is {least} to {most}, not {number}");
            Err(Problem::new(Kind::InvalidRequest, detail))
        }
    }
}

/// Which records of transactions are wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum IsolationParam {
    /// Those of committed ones, up to the first that is open.
    #[default]
    ReadCommitted,
    /// All that are there.
    ReadUncommitted,
}

impl IsolationParam {
    /// As it stands in a query.
    pub(super) fn name(self) -> &'static str {
        match self {
            IsolationParam::ReadCommitted => "read-committed",
            IsolationParam::ReadUncommitted => "read-uncommitted",
        }
    }
}

impl From<IsolationParam> for Isolation {
    fn from(param: IsolationParam) -> Isolation {
        match param {
            IsolationParam::ReadCommitted => Isolation::ReadCommitted,
            IsolationParam::ReadUncommitted => Isolation::ReadUncommitted,
        }
    }
}

/// Where reading begins: `earliest`, `latest`, an offset, or `@` and a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    Spec(OffsetSpec),
    Offset(i64),
}

impl Start {
    /// Reads `from`.
    pub(super) fn read(text: &str) -> Result<Start, Problem> {
        let invalid = |why: String| Problem::new(Kind::InvalidRequest, format!("from: {why}"));
        match text {
            "earliest" => Ok(Start::Spec(OffsetSpec::Earliest)),
            "latest" => Ok(Start::Spec(OffsetSpec::Latest)),
            _ => match text.strip_prefix('@') {
                Some(moment) => {
                    moment_ms(moment).map(|ms| Start::Spec(OffsetSpec::Timestamp(ms))).map_err(invalid)
                }
                None => match text.parse() {
                    Ok(offset @ 0..) => Ok(Start::Offset(offset)),
                    _ => Err(invalid(
                        "say earliest, latest, an offset, or @ and a moment such as @2026-07-01T12:00:00Z"
                            .to_owned(),
                    )),
                },
            },
        }
    }
}

/// Reads milliseconds since 1970 or an RFC 3339 moment such as `2026-07-01T12:00:00Z`; without a zone it is in UTC.
pub fn moment_ms(text: &str) -> Result<i64, String> {
    if let Ok(ms) = text.parse() {
        return Ok(ms);
    }
    let with_zone = DateTime::parse_from_rfc3339(text).map(|moment| moment.timestamp_millis());
    let in_utc = |format| {
        NaiveDateTime::parse_from_str(text, format).map(|moment| moment.and_utc().timestamp_millis())
    };
    let moment =
        with_zone.or_else(|_| in_utc("%Y-%m-%dT%H:%M:%S%.f")).or_else(|_| in_utc("%Y-%m-%d %H:%M:%S%.f"));
    match moment {
        Ok(ms @ 0..) => Ok(ms),
        Ok(_) => Err("the moment lies before 1970".to_owned()),
        Err(_) => Err("write milliseconds since 1970, or a moment such as 2026-07-01T12:00:00Z".to_owned()),
    }
}

/// Seconds with a fraction, within bounds.
pub(super) fn seconds(name: &str, seconds: Option<f64>, most: Duration) -> Result<Duration, Problem> {
    let seconds = within(name, seconds, 0.0, 0.0..=most.as_secs_f64())?;
    Ok(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read() {
        assert_eq!(moment_ms("1700000003500"), Ok(1_700_000_003_500));
        assert_eq!(moment_ms("2023-11-14T22:13:23.500Z"), Ok(1_700_000_003_500));
        assert_eq!(moment_ms("2023-11-14 22:13:23"), Ok(1_700_000_003_000));
        assert_eq!(moment_ms("2023-11-14T23:13:23.5+01:00"), Ok(1_700_000_003_500));
        for text in
            ["", "yesterday", "2023-11-14T23:13:23.5 01:00", "2023-13-01T00:00:00Z", "1969-12-31T00:00:00Z"]
        {
            assert!(moment_ms(text).is_err(), "{text}");
        }
    }
}
