//! Headers against the oracle, vectors for what the oracle does not know, and hostile bytes.

mod features;
mod old_versions;

use bytes::{BufMut, BytesMut};
use kafka_protocol::messages as oracle;
use kafka_protocol::protocol::{Encodable, StrBytes};

use super::*;
use crate::api;
use crate::codec::Records;
use crate::codec::random::Random;
use crate::messages::{delete_topics, fetch, join_group, metadata, sync_group};

/// Hostile frames per API, version and direction.
const MUTANTS: usize = 400;

fn header(api: ApiKey, version: i16) -> RequestHeader {
    RequestHeader {
        api_key: api.code(),
        api_version: version,
        correlation_id: 0x0102_0304,
        client_id: Some("me".into()),
    }
}

/// What stands behind the header.
fn encoded(api: ApiKey, version: i16, encode: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::new(api.range().is_flexible(version));
    encode(&mut writer);
    writer.into_parts().concat()
}

/// The frame in one piece, without the size prefix, which must be right.
fn body(frame: Frame) -> Bytes {
    assert_eq!(frame.len(), frame.parts().iter().map(Bytes::len).sum::<usize>());
    let bytes = frame.into_parts().concat();
    let (size, rest) = bytes.split_at(4);
    assert_eq!(i32::from_be_bytes(size.try_into().unwrap()), rest.len() as i32);
    Bytes::copy_from_slice(rest)
}

fn versions() -> impl Iterator<Item = (ApiKey, i16)> {
    api::table().iter().flat_map(|range| (range.min..=range.max).map(|v| (range.key, v)))
}

#[test]
fn should_write_the_headers_that_the_oracle_writes() {
    let mut random = Random::seeded(1);
    for (api, version) in versions() {
        let header = header(api, version);
        let key = oracle::ApiKey::try_from(api.code()).unwrap();
        // Two versions are older than any that the oracle knows, but their headers are those of the next.
        let known = version.max(key.valid_versions().min);

        let mut expected = BytesMut::new();
        let theirs = oracle::RequestHeader::default()
            .with_request_api_key(header.api_key)
            .with_request_api_version(version)
            .with_correlation_id(header.correlation_id)
            .with_client_id(Some(StrBytes::from_static_str("me")));
        theirs.encode(&mut expected, key.request_header_version(known)).unwrap();
        let request = Request::random(api, &mut random, version);
        expected.extend(encoded(api, version, |writer| request.encode(writer, version).unwrap()));
        let bytes = body(encode_request(&header, &request).unwrap());
        assert_eq!(bytes, expected, "{} v{version}", api.name());
        assert_eq!(decode_request(bytes).unwrap(), (header.clone(), request));

        let mut expected = BytesMut::new();
        let theirs = oracle::ResponseHeader::default().with_correlation_id(header.correlation_id);
        theirs.encode(&mut expected, key.response_header_version(known)).unwrap();
        let response = Response::random(api, &mut random, version);
        expected.extend(encoded(api, version, |writer| response.encode(writer, version).unwrap()));
        let bytes = body(encode_response(&header, &response).unwrap());
        assert_eq!(bytes, expected, "{} v{version}", api.name());
        let back = decode_response(api, version, bytes).unwrap();
        assert_eq!(back, (header.correlation_id, response));
    }
}

#[test]
fn should_ignore_bytes_behind_a_request() {
    // What librdkafka 1.0 sends: ApiVersions v0 and four bytes too many.
    let bytes = Bytes::from_static(&[0, 18, 0, 0, 0, 0, 0, 1, 0, 1, b'c', 0, 0, 0, 0]);
    let (header, request) = decode_request(bytes).unwrap();
    assert_eq!((header.correlation_id, header.client_id.as_deref()), (1, Some("c")));
    assert_eq!(request, Request::ApiVersions(Default::default()));
}

#[test]
fn should_skip_tagged_fields_that_it_does_not_know() {
    #[rustfmt::skip]
    let bytes = Bytes::from_static(&[
        0, 18, 0, 3, 0, 0, 0, 1, 0xff, 0xff, // ApiVersions v3, no client id
        1, 9, 2, 0xaa, 0xbb,                 // header: tag 9 with two bytes
        2, b'n', 2, b'v',                    // name "n", version "v"
        2, 0, 1, 0xcc, 0x80, 1, 0,           // tag 0 with one byte, tag 128 with none
    ]);
    let (header, request) = decode_request(bytes).unwrap();
    assert_eq!(header.client_id, None);
    let Request::ApiVersions(request) = request else { panic!("{request:?}") };
    assert_eq!((&*request.client_software_name, &*request.client_software_version), ("n", "v"));
}

#[test]
fn should_answer_api_versions_behind_a_plain_header() {
    let response = Response::ApiVersions(Default::default());
    let bytes = body(encode_response(&header(ApiKey::ApiVersions, 4), &response).unwrap());
    // Correlation id, error code, an empty compact array, throttle time, no tagged fields.
    assert_eq!(bytes, [1, 2, 3, 4, 0, 0, 1, 0, 0, 0, 0, 0].as_slice());
}

#[test]
fn should_tell_unsupported_api_versions_from_garbage() {
    let bytes = Bytes::from_static(&[0, 18, 0, 9, 0, 0, 0, 5, 0xff, 0xff, 0xaa]);
    let error = decode_request(bytes).unwrap_err();
    let asked = HeaderPrefix { api_key: 18, api_version: 9, correlation_id: 5 };
    assert_eq!(error, DecodeError::UnsupportedVersion { header: asked });

    let mut expected = vec![0, 0, 0, 5, 0, 35];
    expected.put_i32(api::table().len() as i32);
    for range in api::table() {
        expected.put_i16(range.key.code());
        expected.put_i16(range.advertised_min);
        expected.put_i16(range.max);
    }
    assert_eq!(body(encode_unsupported_api_versions(5)), expected);
    assert!(expected.windows(6).any(|entry| entry == [0, 18, 0, 0, 0, 4]));
    assert!(expected.windows(6).any(|entry| entry == [0, 0, 0, 0, 0, 13]), "Produce 0-13");
}

#[test]
fn should_refuse_what_it_does_not_serve() {
    let refused = |api_key: i16, api_version: i16| {
        let mut bytes = BytesMut::new();
        bytes.put_i16(api_key);
        bytes.put_i16(api_version);
        bytes.put_slice(&[0, 0, 0, 5, 0xff, 0xff]);
        decode_request(bytes.freeze()).unwrap_err()
    };
    for (api_key, api_version) in [(0, 0), (0, 2), (0, 14), (1, 3), (1, 18), (3, -1), (22, 6)] {
        let header = HeaderPrefix { api_key, api_version, correlation_id: 5 };
        assert_eq!(refused(api_key, api_version), DecodeError::UnsupportedVersion { header });
    }
    let header = HeaderPrefix { api_key: 4, api_version: 0, correlation_id: 5 };
    assert_eq!(refused(4, 0), DecodeError::UnknownApi { header });
    assert_eq!(decode_request(Bytes::new()).unwrap_err(), DecodeError::Truncated);
}

#[test]
fn should_refuse_to_answer_what_was_not_asked() {
    let produce = Response::Produce(Default::default());
    assert!(matches!(
        encode_response(&header(ApiKey::Produce, 2), &produce),
        Err(EncodeError::UnsupportedVersion { api_key: 0, api_version: 2 })
    ));
    assert!(matches!(
        encode_response(&header(ApiKey::Fetch, 4), &produce),
        Err(EncodeError::WrongMessage { header: 1, message: 0 })
    ));
}

#[test]
fn should_splice_fetched_records_without_copying() {
    let parts = [Bytes::from(vec![1; 16]), Bytes::from(vec![2; 1000]), Bytes::from(vec![3; 9])];
    let partition = |records: Option<Records>| fetch::PartitionResponse { records, ..Default::default() };
    let response = Response::Fetch(fetch::Response {
        responses: vec![fetch::TopicResponse {
            partitions: vec![
                partition(Some(Records::from(parts[..2].to_vec()))),
                partition(None),
                partition(Some(Records::from(parts[2].clone()))),
            ],
            ..Default::default()
        }],
        ..Default::default()
    });
    for version in 4..=17 {
        let frame = encode_response(&header(ApiKey::Fetch, version), &response).unwrap();
        for part in &parts {
            assert!(frame.parts().iter().any(|spliced| spliced.as_ptr() == part.as_ptr()));
        }
        // Fields, 16, 1000, fields, 9; a flexible version ends with counts of tagged fields.
        assert_eq!(frame.parts().len(), if version < 12 { 5 } else { 6 });
        let (_, back) = decode_response(ApiKey::Fetch, version, body(frame)).unwrap();
        assert_eq!(back, response);
    }
}

#[test]
fn should_hand_out_produced_records_as_slices_of_the_frame() {
    let mut random = Random::seeded(2);
    let mut slices = 0;
    for version in (3..=13).cycle().take(200) {
        let request = Request::random(ApiKey::Produce, &mut random, version);
        let frame = body(encode_request(&header(ApiKey::Produce, version), &request).unwrap());
        let Ok((_, Request::Produce(request))) = decode_request(frame.clone()) else { panic!() };
        let partitions = request.topic_data.iter().flat_map(|topic| &topic.partition_data);
        for part in partitions.filter_map(|p| p.records.as_ref()).flat_map(|r| r.parts()) {
            assert!(frame.as_ptr_range().contains(&part.as_ptr()));
            slices += 1;
        }
    }
    assert!(slices > 100, "{slices}");
}

#[test]
fn should_hand_out_subscriptions_and_assignments_as_slices_of_the_frame() {
    let blob = |byte| Bytes::from(vec![byte; 40]);
    let protocol = join_group::Protocol { name: "range".into(), metadata: blob(1) };
    let join = Request::from(join_group::Request { protocols: vec![protocol], ..Default::default() });
    let assignment = sync_group::Assignment { member_id: "m".into(), assignment: blob(2) };
    let sync = Request::from(sync_group::Request { assignments: vec![assignment], ..Default::default() });
    for (request, versions) in [(join, 0..=9), (sync, 0..=5)] {
        for version in versions {
            let frame = body(encode_request(&header(request.api_key(), version), &request).unwrap());
            let slice = match decode_request(frame.clone()).unwrap().1 {
                Request::JoinGroup(request) => request.protocols[0].metadata.clone(),
                Request::SyncGroup(request) => request.assignments[0].assignment.clone(),
                other => panic!("{other:?}"),
            };
            assert_eq!(slice.len(), 40);
            assert!(
                frame.as_ptr_range().contains(&slice.as_ptr()),
                "{} v{version}",
                request.api_key().name()
            );
        }
    }
}

#[test]
fn should_refuse_nulls_and_counts_that_the_version_does_not_allow() {
    let metadata = |version: i16, body: &[u8]| {
        let mut bytes = BytesMut::new();
        bytes.put_i16(3);
        bytes.put_i16(version);
        bytes.put_slice(&[0, 0, 0, 1, 0xff, 0xff]);
        bytes.put_slice(body);
        decode_request(bytes.freeze())
    };
    let all = Request::Metadata(metadata::Request { topics: None, ..Default::default() });
    let none = [0xff, 0xff, 0xff, 0xff];
    assert_eq!(metadata(1, &none).unwrap().1, all);
    let field = "Request.topics";
    assert_eq!(metadata(0, &none).unwrap_err(), DecodeError::UnexpectedNull { field });
    let field = "RequestTopic.name";
    let null_name = [0, 0, 0, 1, 0xff, 0xff];
    assert_eq!(metadata(1, &null_name).unwrap_err(), DecodeError::UnexpectedNull { field });
    let field = "Request.topics";
    let length = i32::MIN;
    let negative = [0x80, 0, 0, 0];
    assert_eq!(metadata(1, &negative).unwrap_err(), DecodeError::NegativeLength { field, length });

    // Four bytes that make a codec that trusts them ask for 154 GB.
    let bomb = [0x7f, 0xff, 0xff, 0xff];
    let (count, remaining) = (0x7fff_ffff, 0);
    let refused = DecodeError::ImpossibleCount { field, count, remaining };
    assert_eq!(metadata(1, &bomb).unwrap_err(), refused);
    // The same in the compact form, with room for 1 of the 2 elements it claims.
    let refused = DecodeError::ImpossibleCount { field, count: 2, remaining: 35 };
    let bomb = [&[0, 3], [0; 35].as_slice()].concat();
    assert_eq!(metadata(12, &bomb).unwrap_err(), refused);
    let too_long = [0, 0xff, 0xff, 0xff, 0xff, 0x1f];
    assert!(matches!(metadata(12, &too_long).unwrap_err(), DecodeError::Malformed(_)));
}

/// The fields that may be null in only some of the versions that have them; the oracle writes
/// their nulls in all.
#[test]
fn should_write_a_null_from_its_version_on() {
    let topics = Some(vec![metadata::RequestTopic::default()]);
    let requests = [
        (Request::from(metadata::Request { topics: None, ..Default::default() }), 1),
        (Request::from(metadata::Request { topics, ..Default::default() }), 10),
    ];
    let topics = vec![metadata::Topic::default()];
    let responses = vec![delete_topics::TopicResult::default()];
    let responses = [
        (Response::from(metadata::Response { topics, ..Default::default() }), 12),
        (Response::from(delete_topics::Response { responses, ..Default::default() }), 6),
    ];
    for (request, from) in &requests {
        let api = request.api_key();
        assert!(encode_request(&header(api, *from), request).is_ok());
        let refused = encode_request(&header(api, from - 1), request);
        assert!(matches!(refused, Err(EncodeError::UnexpectedNull { .. })), "{request:?}");
    }
    for (response, from) in &responses {
        let api = response.api_key();
        assert!(encode_response(&header(api, *from), response).is_ok());
        let refused = encode_response(&header(api, from - 1), response);
        assert!(matches!(refused, Err(EncodeError::UnexpectedNull { .. })), "{response:?}");
    }
}

/// Damages a frame in one of the ways in which hostile or broken peers do.
fn mutate(random: &mut Random, bytes: &mut Vec<u8>) {
    let at = random.below(bytes.len());
    let lie: &[u8] = match random.below(8) {
        0 => &[0x7f, 0xff, 0xff, 0xff],
        1 => &[0xff, 0xff, 0xff, 0xff, 0x0f],
        2 => &[0x80, 0, 0, 0],
        3 => &[0, 0, 0xff, 0xff],
        4 => return bytes.truncate(at),
        5 => {
            let tail = bytes.split_off(at);
            bytes.extend(random.some_bytes());
            return bytes.extend(tail);
        }
        _ => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
            return;
        }
    };
    for (byte, lie) in bytes.iter_mut().skip(at).zip(lie) {
        *byte = *lie;
    }
}

#[test]
fn should_survive_hostile_requests() {
    let mut random = Random::seeded(3);
    let (mut accepted, mut refused) = (0, 0);
    for (api, version) in versions() {
        for _ in 0..MUTANTS {
            let request = Request::random(api, &mut random, version);
            let frame = body(encode_request(&header(api, version), &request).unwrap());
            // The first four bytes stay, so that most mutants reach the decoder of this version.
            let mut rest = frame[4..].to_vec();
            for _ in 0..=random.below(3) {
                mutate(&mut random, &mut rest);
            }
            let mutant = Bytes::from([&frame[..4], &rest].concat());
            match decode_request(mutant) {
                Err(_) => refused += 1,
                Ok((header, request)) => {
                    accepted += 1;
                    // What we accept, we can write and read again.
                    let again = body(encode_request(&header, &request).unwrap());
                    assert_eq!(decode_request(again).unwrap(), (header, request));
                }
            }
        }
    }
    println!("{accepted} accepted, {refused} refused");
    assert!(accepted > MUTANTS && refused > MUTANTS);
}

#[test]
fn should_survive_hostile_responses() {
    let mut random = Random::seeded(4);
    for (api, version) in versions() {
        for _ in 0..MUTANTS / 4 {
            let response = Response::random(api, &mut random, version);
            let mut bytes = body(encode_response(&header(api, version), &response).unwrap()).to_vec();
            mutate(&mut random, &mut bytes);
            if let Ok((_, response)) = decode_response(api, version, Bytes::from(bytes)) {
                encode_response(&header(api, version), &response).unwrap();
            }
        }
    }
}

#[test]
fn should_survive_noise() {
    let mut random = Random::seeded(5);
    for (api, version) in versions() {
        for _ in 0..MUTANTS {
            let mut bytes = Vec::new();
            bytes.put_i16(api.code());
            bytes.put_i16(version);
            let length = random.below(80);
            // Noise with many zeros and small numbers gets further than plain noise.
            bytes.extend(random.bytes(length).iter().map(|b| if b & 3 == 0 { *b } else { b & 3 }));
            let _ = decode_request(Bytes::from(bytes));
        }
    }
}
