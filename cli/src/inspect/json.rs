//! JSON objects that are put together.
//!
//! Must not know what they show.

use serde_json::Value;

/// Adds the fields of one object to another.
pub(super) fn join(into: &mut Value, more: Value) {
    if let (Value::Object(into), Value::Object(more)) = (into, more) {
        into.extend(more);
    }
}
