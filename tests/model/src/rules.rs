//! The rules of the journal that can be taken out one by one, to see the checker find what each is there for.
//!
//! Must not know how a rule is carried out: that stands where it is asked for.

/// What a proposer makes of "already exists".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exists {
    /// A question: the slot is read, and the commit id in its body is compared. The design.
    ComparedById,
    /// Stricter: all bytes are compared.
    ComparedByBytes,
    /// Broken: whoever meets something takes it for somebody else's.
    TakenAsTheirs,
    /// Broken: whoever meets something takes it for its own.
    TakenAsOurs,
}

/// Which rules hold. [`Rules::ALL`] is the design.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// A proposer uses the answer to a PUT only inside the lease.
    pub writer_lease: bool,
    /// A reader uses what a slot told it only inside the lease.
    pub reader_lease: bool,
    /// The clock is looked at after the operation, not before it.
    pub clock_after: bool,
    /// Loading reads the floor after it picked a checkpoint, and drops one that lies below.
    pub floor_on_load: bool,
    /// What "already exists" means.
    pub exists: Exists,
    /// The fold drops a commit id that it has seen.
    pub fold_drops_repeats: bool,
    /// After a reload, a proposal whose commit id was folded is not put again.
    pub looks_for_its_id: bool,
    /// After a reload, a proposal that the fold may have forgotten is not put again.
    pub forgotten_is_unknown: bool,
    /// The fold voids a commit that is so old that its id may have been forgotten.
    pub fold_voids_old_commits: bool,
    /// A slot is deleted only if it lies below the floor.
    pub deletes_below_the_floor: bool,
    /// A slot is deleted only some time after the floor moved past it.
    pub deletion_delay: bool,
    /// The floor moves only to a durable checkpoint.
    pub floor_at_a_checkpoint: bool,
}

impl Rules {
    /// Everything that the design says.
    pub const ALL: Rules = Rules {
        writer_lease: true,
        reader_lease: true,
        clock_after: true,
        floor_on_load: true,
        exists: Exists::ComparedById,
        fold_drops_repeats: true,
        looks_for_its_id: true,
        forgotten_is_unknown: true,
        fold_voids_old_commits: false,
        deletes_below_the_floor: true,
        deletion_delay: true,
        floor_at_a_checkpoint: true,
    };
}
