//! ListTransactions: the transactional ids that this node looks after (KIP-664, KIP-994, KIP-1152).
//!
//! Must not know what takes part in a transaction. Clients ask every node and add the answers up, so that no id may be in
//! two of them.

use strandline_core::manifest::Transaction;
use strandline_kafka::api::ApiKey;
use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::list_transactions::{Request, Response, TransactionState};

use crate::errors;
use crate::metrics;
use crate::pattern::pattern;
use crate::session::Session;
use crate::transactions::{STATES, state};

/// Those that pass the filters.
pub(crate) async fn answer(session: &Session, request: Request) -> Response {
    list(session, request).await.unwrap_or_else(|code| {
        let error_code = metrics::failed(ApiKey::ListTransactions, code);
        Response { error_code, ..Response::default() }
    })
}

async fn list(session: &Session, request: Request) -> Result<Response, ErrorCode> {
    session.nodes.refresh().await;
    session.journal.refresh().await.map_err(|error| errors::transaction(&error))?;
    let asked = request.transactional_id_pattern.as_deref().filter(|asked| !asked.is_empty());
    let asked = asked.map(pattern).transpose().map_err(|_| ErrorCode::InvalidRegularExpression)?;
    let (known, unknown): (Vec<String>, Vec<String>) =
        request.state_filters.into_iter().partition(|wanted| STATES.contains(&wanted.as_str()));
    let any_state = known.is_empty() && unknown.is_empty();
    let now_ms = session.journal.stamp_ms();
    let wanted = |id: &str, of: &Transaction| {
        let producers = &request.producer_id_filters;
        (any_state || known.iter().any(|wanted| wanted == state(of)))
            && (producers.is_empty() || producers.contains(&of.producer.id))
            && (request.duration_filter < 0
                || of.is_ongoing() && now_ms.saturating_sub(of.begun_ms) > request.duration_filter)
            && asked.as_ref().is_none_or(|asked| asked.is_match(id.as_bytes()))
            && session.nodes.is_coordinator(id)
    };
    let transaction_states = session.journal.view(|manifest| {
        let wanted = manifest.transactions().filter(|(id, of)| wanted(id, of));
        let listed = wanted.map(|(id, of)| TransactionState {
            transactional_id: id.to_owned(),
            producer_id: of.producer.id,
            transaction_state: state(of).to_owned(),
        });
        listed.collect()
    });
    Ok(Response { unknown_state_filters: unknown, transaction_states, ..Response::default() })
}
