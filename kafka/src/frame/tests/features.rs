//! Vectors for what makes clients switch to the newer transaction protocol (KIP-890): the features in
//! ApiVersions and, once they have, the producer's next epoch in EndTxn.

use super::{body, header};
use crate::api::ApiKey;
use crate::frame::{decode_response, encode_response};
use crate::messages::api_versions::{FinalizedFeature, SupportedFeature};
use crate::messages::{Response, api_versions, end_txn};

fn bytes(api: ApiKey, version: i16, response: &Response) -> Vec<u8> {
    body(encode_response(&header(api, version), response).unwrap()).to_vec()
}

#[test]
fn should_say_which_features_are_supported_and_finalized() {
    let name = || "txn".to_owned();
    let response = Response::from(api_versions::Response {
        supported_features: vec![SupportedFeature { name: name(), min_version: 1, max_version: 2 }],
        finalized_features_epoch: 7,
        finalized_features: vec![FinalizedFeature {
            name: name(),
            max_version_level: 2,
            min_version_level: 1,
        }],
        ..Default::default()
    });
    #[rustfmt::skip]
    let expected = [
        1, 2, 3, 4, 0, 0, 1, 0, 0, 0, 0,              // correlation id, error 0, no APIs, throttle time 0
        3,                                            // three tagged fields
        0, 10, 2, 4, b't', b'x', b'n', 0, 1, 0, 2, 0, // tag 0, 10 bytes: "txn" from 1 to 2
        1, 8, 0, 0, 0, 0, 0, 0, 0, 7,                 // tag 1, 8 bytes: epoch 7
        2, 10, 2, 4, b't', b'x', b'n', 0, 2, 0, 1, 0, // tag 2, 10 bytes: "txn" at most 2, at least 1
    ];
    for version in [3, 4] {
        assert_eq!(bytes(ApiKey::ApiVersions, version, &response), expected);
        let back = decode_response(ApiKey::ApiVersions, version, expected.to_vec().into()).unwrap();
        assert_eq!(back, (0x0102_0304, response.clone()));
    }
    // Older versions have no place for them, and no finalized feature is no field at all.
    let nothing = Response::from(api_versions::Response::default());
    for version in 0..=2 {
        let written = bytes(ApiKey::ApiVersions, version, &response);
        assert_eq!(written, bytes(ApiKey::ApiVersions, version, &nothing));
    }
    let written = bytes(ApiKey::ApiVersions, 4, &nothing);
    assert_eq!(written, [1, 2, 3, 4, 0, 0, 1, 0, 0, 0, 0, 0]);
}

#[test]
fn should_say_from_v5_on_with_which_epoch_to_go_on() {
    let response = Response::from(end_txn::Response {
        throttle_time_ms: 0,
        error_code: 0,
        producer_id: 9,
        producer_epoch: 4,
    });
    let old = [1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0]; // correlation id, tags, throttle time 0, error 0, tags
    let new = [&old[..11], &[0, 0, 0, 0, 0, 0, 0, 9, 0, 4, 0]].concat(); // producer id 9, epoch 4
    assert_eq!(bytes(ApiKey::EndTxn, 4, &response), old);
    assert_eq!(bytes(ApiKey::EndTxn, 5, &response), new);
    // A client that reads v4 learns of no id, rather than of id 0.
    let unknown = Response::from(end_txn::Response::default());
    assert_eq!(decode_response(ApiKey::EndTxn, 4, old.to_vec().into()).unwrap().1, unknown);
    let Response::EndTxn(unknown) = unknown else { panic!("{unknown:?}") };
    assert_eq!((unknown.producer_id, unknown.producer_epoch), (-1, -1));
}
