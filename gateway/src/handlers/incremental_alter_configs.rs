//! IncrementalAlterConfigs: single configs of topics are set, deleted, or gain and lose elements (KIP-339).
//!
//! Must not know what a config does.

use strandline_kafka::api::ApiKey;
use strandline_kafka::messages::incremental_alter_configs::{Request, Resource, Response};

use super::altering::{self, Alteration};
use crate::session::Session;

/// Changes the configs of each resource.
pub(crate) async fn answer(session: &Session, request: Request) -> Response {
    let alteration = |resource: Resource| Alteration {
        resource_type: resource.resource_type,
        resource_name: resource.resource_name,
        replace: false,
        changes: resource
            .configs
            .into_iter()
            .map(|config| (config.name, config.config_operation, config.value))
            .collect(),
    };
    let asked = request.resources.into_iter().map(alteration).collect();
    let api = ApiKey::IncrementalAlterConfigs;
    let responses = altering::run(session, api, asked, request.validate_only).await;
    Response { responses, ..Response::default() }
}
