//! What a version shows is one state of the log, and can be read; whoever publishes, dies or overtakes.
//!
//! - `shelf`: a topic whose chunks come and go, and a reader that knows nothing but the bucket
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod shelf;

use strandline_core::env::Env;

use super::*;
use shelf::Shelf;

/// Writes a table to look at with other programs: `STRANDLINE_TABLE_URL=file:///tmp/x cargo test -- --ignored look_at_a_table`.
#[tokio::test]
#[ignore = "writes where it is told to"]
async fn look_at_a_table() {
    let url = std::env::var("STRANDLINE_TABLE_URL").unwrap();
    let store = Store::open(&url, Env::system()).unwrap();
    let mut shelf = Shelf::new(store, 1);
    for _ in 0..3 {
        shelf.append(0, 10).await;
        shelf.append(1, 7).await;
        println!("{:?}", shelf.publish().await.unwrap());
    }
    shelf.replace(0).await;
    println!("{:?}", shelf.publish().await.unwrap());
    println!("{}", shelf.store.location(&paths::table(shelf.topic)));
}
