//! `strandline table`: where the Iceberg table of a topic is, and how other programs open it.
//!
//! Must not know what is in a table. Reads only.

use anyhow::{Context, Result, bail};
use serde_json::json;
use strandline_compactor::table::{self, Description};

use crate::args::TableArgs;
use crate::output::{self, Format};
use crate::topic;
use crate::units::show_counted;

pub(crate) async fn run(args: TableArgs) -> Result<()> {
    let TableArgs { name, store, format } = args;
    let (journal, topic) = topic::find(&store.url, &name).await?;
    let described = table::describe(journal.store(), topic.id).await;
    journal.close().await;
    let Some(table) = described.with_context(|| format!("cannot read the table of {name}"))? else {
        bail!(
            "{name} has no table: nothing of it has been kept as Parquet yet (strandline topic alter {name} --config strandline.archive.format=parquet)"
        );
    };
    match format {
        Format::Text => output::say(&text(&table)),
        Format::Json => output::say_json(&json!({
            "location": table.location,
            "version": table.version,
            "snapshots": table.snapshots,
            "slot": table.slot,
            "time_ms": table.now_ms,
            "files": table.files,
            "records": table.records,
        })),
    }
}

fn text(table: &Description) -> String {
    let Description { location, version, snapshots, slot, files, records, .. } = table;
    let files = show_counted(*files, "file");
    let (records, snapshots) =
        (show_counted(*records, "record"), show_counted(*snapshots as u64, "snapshot"));
    format!(
        "{location}\nversion {version} as of slot {slot}: {records} in {files}, {snapshots}\n\
         DuckDB     SELECT * FROM iceberg_scan('{location}');\n\
         PyIceberg  pyiceberg.table.StaticTable.from_metadata(\"{location}\").scan()\n\
         Polars     polars.scan_iceberg(pyiceberg.table.StaticTable.from_metadata(\"{location}\"))\n\
         Spark      spark.read.format(\"iceberg\").load(\"{location}\")"
    )
}
