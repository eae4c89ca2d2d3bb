//! AlterConfigs: the configs of topics are replaced; those that are not named go back to their defaults.
//!
//! Must not know what a config does.

use strandline_kafka::api::ApiKey;
use strandline_kafka::messages::alter_configs::{Request, Resource, Response};

use super::altering::{self, Alteration};
use crate::session::Session;

/// "This value from now on", in the numbers of KIP-339.
const SET: i8 = 0;

/// Replaces the configs of each resource.
pub(crate) async fn answer(session: &Session, request: Request) -> Response {
    let alteration = |resource: Resource| Alteration {
        resource_type: resource.resource_type,
        resource_name: resource.resource_name,
        replace: true,
        changes: resource.configs.into_iter().map(|config| (config.name, SET, config.value)).collect(),
    };
    let asked = request.resources.into_iter().map(alteration).collect();
    let responses = altering::run(session, ApiKey::AlterConfigs, asked, request.validate_only).await;
    Response { responses, ..Response::default() }
}
