//! LeaveGroup, and clients whose connection broke while they waited.
//!
//! Must not know why they go.

use std::collections::BTreeSet;

use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::leave_group::{Member, MemberResponse};
use tokio::time::Instant;

use super::{Classic, Ticket};

impl Classic {
    /// Members leave; one result each.
    pub(in crate::groups) fn leave(&mut self, now: Instant, members: Vec<Member>) -> Vec<MemberResponse> {
        let results = members
            .into_iter()
            .map(|member| {
                let left = self.leave_one(&member.member_id, member.group_instance_id.as_deref());
                MemberResponse {
                    error_code: left.err().unwrap_or(ErrorCode::None).code(),
                    member_id: member.member_id,
                    group_instance_id: member.group_instance_id,
                }
            })
            .collect();
        self.after_removal(now);
        results
    }

    fn leave_one(&mut self, id: &str, instance_id: Option<&str>) -> Result<(), ErrorCode> {
        if instance_id.is_none() && self.pending.remove(id).is_some() {
            return Ok(());
        }
        let id = match instance_id {
            // An administrator takes a static member out, and does not know its id.
            Some(instance_id) if id.is_empty() => {
                self.roll.instance(instance_id).ok_or(ErrorCode::UnknownMemberId)?.to_owned()
            }
            _ => id.to_owned(),
        };
        self.roll.check(&id, instance_id)?;
        self.remove(&id);
        Ok(())
    }

    /// The clients of these requests are gone: their members live as long as their sessions, or are gone with them if
    /// they never heard their ids.
    pub(in crate::groups) fn abandon(&mut self, now: Instant, tickets: &BTreeSet<Ticket>) {
        let gone = |ticket: Option<Ticket>| ticket.is_some_and(|ticket| tickets.contains(&ticket));
        let waited: Vec<(String, bool)> = self
            .roll
            .iter()
            .filter(|member| gone(member.joining) || gone(member.syncing))
            .map(|member| (member.id.clone(), member.named))
            .collect();
        for (id, named) in waited {
            self.roll.take_joining(&id);
            if let Some(member) = self.roll.get_mut(&id) {
                member.syncing = None;
            }
            match named {
                true => self.touch(now, &id),
                false => self.remove(&id),
            }
        }
        self.held.retain(|held| !tickets.contains(&held.ticket));
        self.after_removal(now);
    }
}
