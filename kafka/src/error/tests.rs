//! Compares the table of error codes with the oracle's.

use kafka_protocol::ResponseError;

use super::ErrorCode;

#[test]
fn should_agree_with_the_oracle_on_every_code() {
    for code in -2..200 {
        let oracle = match ResponseError::try_from_code(code) {
            Some(ResponseError::Unknown(_)) => None,
            known => Some(known),
        };
        match (ErrorCode::try_from(code), oracle) {
            (Ok(ours), Some(Some(oracle))) => {
                assert_eq!(ours.code(), code);
                // Kafka's ConcurrentTransactionsException has become retriable; the oracle has not noticed.
                let retriable = oracle.is_retriable() || ours == ErrorCode::ConcurrentTransactions;
                assert_eq!(ours.is_retriable(), retriable, "{ours:?}");
                assert!(format!("{oracle:?}").starts_with(&format!("{ours:?}")), "{ours:?} {oracle:?}");
            }
            (Ok(ours), Some(None)) => assert_eq!(ours, ErrorCode::None),
            (Err(_), None) => {}
            (ours, oracle) => panic!("code {code}: ours {ours:?}, oracle {oracle:?}"),
        }
    }
}
