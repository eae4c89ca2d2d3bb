//! ListGroups: the groups that this node looks after.
//!
//! Must not know how groups come to be. Clients ask every node and add the answers up, so that no group may be in two of
//! them.

use strandline_kafka::api::ApiKey;
use strandline_kafka::messages::list_groups::{Group, Request, Response};
use tracing::debug;

use crate::errors;
use crate::group_view::GroupView;
use crate::metrics;
use crate::session::Session;

/// Those that pass the filters.
pub(crate) async fn answer(session: &Session, request: Request) -> Response {
    session.nodes.refresh().await;
    if let Err(error) = session.journal.refresh().await {
        debug!(%error, "groups are asked for and the journal cannot be read");
        let error_code = metrics::failed(ApiKey::ListGroups, errors::group(&error));
        return Response { error_code, ..Response::default() };
    }
    let states = &request.states_filter;
    let wanted =
        |group: &GroupView| passes(states, group.state) && passes(&request.types_filter, group.type_name());
    let own = GroupView::listed(session).into_iter().filter(|(name, _)| session.nodes.is_coordinator(name));
    let listed = own.filter(|(_, group)| wanted(group)).map(|(group_id, group)| Group {
        group_id,
        group_type: group.type_name().to_owned(),
        group_state: group.state.to_owned(),
        protocol_type: group.protocol_type,
    });
    Response { groups: listed.collect(), ..Response::default() }
}

/// An empty filter lets everything pass. Kafka's is blind to case.
fn passes(filter: &[String], value: &str) -> bool {
    filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(value))
}
