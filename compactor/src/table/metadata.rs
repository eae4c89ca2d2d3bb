//! The metadata of a version of a table.
//!
//! Must not know files. Invariant: its time comes from the journal alone, and does not go back from version to version.

use bytes::Bytes;
use iceberg::spec::{
    FormatVersion, MAIN_BRANCH, PartitionSpec, Schema, SchemaRef, Snapshot, SortOrder, TableMetadata,
    TableMetadataBuilder,
};
use serde_json::Value;
use strandline_core::store::Store;
use strandline_core::{Error, Result, paths};

use super::avro::unwritten;
use super::files::State;

/// Earlier versions that a version names.
const PREVIOUS_VERSIONS: usize = 20;

/// What the next version is made from.
#[derive(Debug)]
pub(super) struct Base<'a> {
    pub(super) store: &'a Store,
    pub(super) state: &'a State,
    /// The version before and what it says; none: there is no table, or none that can be read.
    pub(super) before: Option<(u64, TableMetadata)>,
    /// The columns of now, with the id that they have in the table.
    pub(super) schema: SchemaRef,
}

impl<'a> Base<'a> {
    pub(super) fn new(
        store: &'a Store,
        state: &'a State,
        before: Option<(u64, TableMetadata)>,
    ) -> Result<Base<'a>> {
        let columns = iceberg::arrow::arrow_schema_to_schema(&state.columns).map_err(unwritten)?;
        let id = before.as_ref().map_or(1, |(_, metadata)| {
            let same = |known: &&SchemaRef| known.as_struct() == columns.as_struct();
            let highest = metadata.schemas_iter().map(|schema| schema.schema_id()).max().unwrap_or(0);
            // The current one first: should two be the same, it stays.
            let known = std::iter::once(metadata.current_schema()).chain(metadata.schemas_iter()).find(same);
            known.map_or(highest + 1, |known| known.schema_id())
        });
        let schema = columns.into_builder().with_schema_id(id).build().map_err(unwritten)?.into();
        Ok(Base { store, state, before, schema })
    }

    pub(super) fn metadata(&self) -> Option<&TableMetadata> {
        self.before.as_ref().map(|(_, metadata)| metadata)
    }

    /// Whether the columns, the name or the place of the table are other ones than the version before says.
    pub(super) fn is_other(&self) -> bool {
        self.metadata().is_none_or(|metadata| {
            metadata.current_schema_id() != self.schema.schema_id()
                || metadata.location() != self.location()
                || self
                    .properties()
                    .iter()
                    .any(|(name, value)| metadata.properties().get(*name) != Some(value))
        })
    }

    /// What the time of the next version must not lie before, milliseconds.
    pub(super) fn since_ms(&self) -> i64 {
        self.metadata().map_or(0, TableMetadata::last_updated_ms)
    }

    /// The version with this snapshot, or only without those that have expired.
    pub(super) fn next(
        self,
        snapshot: Option<Snapshot>,
        expired: &[i64],
        at_ms: i64,
    ) -> Result<(TableMetadata, Bytes)> {
        let at_ms = at_ms.max(self.since_ms());
        let (id, state) = (self.schema.schema_id(), self.state);
        let properties =
            self.properties().map(|(name, value)| (name.to_owned(), value)).into_iter().collect();
        let location = self.location();
        let built = (|| {
            let builder = self.builder()?.set_location(location).set_properties(properties)?;
            let builder = builder.remove_snapshots(expired);
            match snapshot {
                Some(snapshot) => builder.set_branch_snapshot(snapshot, MAIN_BRANCH)?.build(),
                None => builder.build(),
            }
        })();
        let metadata = built.map_err(unwritten)?.metadata;
        if metadata.current_schema_id() != id {
            let why = format!("the columns of the table of {} have another id than they should", state.topic);
            return Err(Error::Invalid(why.into()));
        }
        let body = encode(&metadata, at_ms)?;
        Ok((metadata, body))
    }

    fn builder(self) -> Result<TableMetadataBuilder, iceberg::Error> {
        let schema = Schema::clone(&self.schema);
        if let Some((version, metadata)) = self.before {
            let file = self.store.location(&paths::table_version(self.state.topic, version));
            let used = |id: i32| metadata.snapshots().any(|snapshot| snapshot.schema_id() == Some(id));
            let ids = metadata.schemas_iter().map(|schema| schema.schema_id());
            let unused: Vec<_> = ids.filter(|id| *id != schema.schema_id() && !used(*id)).collect();
            return metadata.into_builder(Some(file)).add_current_schema(schema)?.remove_schemas(&unused);
        }
        // The library gives columns new ids when it makes a table, but not when they are added to one.
        let none = Schema::builder().build()?;
        let (spec, order) = (PartitionSpec::unpartition_spec(), SortOrder::unsorted_order());
        let location = self.location();
        TableMetadataBuilder::new(none, spec, order, location, FormatVersion::V2, Default::default())?
            .assign_uuid(self.state.topic)
            .add_current_schema(schema)?
            .remove_schemas(&[0])
    }

    fn location(&self) -> String {
        self.store.location(&paths::table(self.state.topic))
    }

    fn properties(&self) -> [(&'static str, String); 3] {
        [
            ("strandline.topic", self.state.name.clone()),
            ("strandline.topic-id", self.state.topic.to_string()),
            ("write.metadata.previous-versions-max", PREVIOUS_VERSIONS.to_string()),
        ]
    }
}

/// Without a snapshot the library asks the machine's clock for the time of a version: here it is the journal's. And it has no
/// order for snapshots and schemas.
fn encode(metadata: &TableMetadata, at_ms: i64) -> Result<Bytes> {
    let unwritten =
        |error| Error::Invalid(format!("the metadata of a table cannot be written: {error}").into());
    let mut value = serde_json::to_value(metadata).map_err(unwritten)?;
    if let Some(updated) = value.get_mut("last-updated-ms") {
        *updated = Value::from(at_ms);
    }
    for (list, by) in [("snapshots", "sequence-number"), ("schemas", "schema-id")] {
        if let Some(list) = value.get_mut(list).and_then(Value::as_array_mut) {
            list.sort_by_key(|one| one.get(by).and_then(Value::as_i64));
        }
    }
    serde_json::to_vec(&value).map(Bytes::from).map_err(unwritten)
}
