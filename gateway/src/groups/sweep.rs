//! Groups whose coordinator this node has become without being asked.
//!
//! Must not know the protocols. Members that died with their coordinator are nobody's: unless somebody counts their
//! silence they would keep the group from ever being empty.

use std::sync::Arc;

use tokio::time::sleep;

use super::active::Active;
use super::message::Message;
use crate::limits::GROUP_SWEEP;
use crate::phase::Phase;

/// Until the node stops. Sleeps while no group has members.
pub(super) async fn run(active: Arc<Active>) {
    let mut folded = active.journal.subscribe();
    let sweeping = async {
        loop {
            sleep(GROUP_SWEEP).await;
            if !sweep(&active).await && folded.changed().await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        biased;
        () = active.phases.reached(Phase::Stopping) => {}
        () = sweeping => {}
    }
}

/// Whether any group has members.
async fn sweep(active: &Arc<Active>) -> bool {
    let (mut any, mut orphans) = (false, Vec::new());
    active.journal.view(|manifest| {
        for (name, _) in manifest.groups().filter(|(_, group)| !group.members.is_empty()) {
            any = true;
            if active.state(name).is_none() && active.is_ours(name) {
                orphans.push(name.to_owned());
            }
        }
    });
    if !orphans.is_empty() && active.catch_up().await {
        for name in orphans {
            // No room for more of them: the next sweep tries again.
            let _ = Active::send(active, &name, Message::Wake);
        }
    }
    any
}
