//! The availability zone of a client, from what it calls itself.
//!
//! Must not know nodes. Kafka has no field for it in Metadata (KIP-1163 is not decided), so the convention of other
//! log services on object stores is understood: `client.id=app,strandline_az=eu-1a`.

/// The words before the `=`: ours, and those that clients may have been set up for already.
const WORDS: [&str; 4] = ["diskless_az", "ws_az", "warpstream_az", "strandline_az"];

/// The zone in a client id: what follows the first `word=` at its start or after a space, comma or bar, up to the next
/// `=`, comma, bar or space. MirrorMaker appends `|source->target|...`, hence the bar.
pub(crate) fn of_client(client_id: &str) -> Option<&str> {
    let parts = client_id.split([' ', ',', '|']);
    let found = parts.filter_map(|part| part.split_once('=')).find(|(word, _)| WORDS.contains(word));
    let zone = found?.1.split('=').next()?;
    (!zone.is_empty()).then_some(zone)
}
