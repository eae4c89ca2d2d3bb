//! The error codes of the Kafka protocol, as one table: code, name, whether a client may retry, message.
//!
//! Must not know which request may return which code. Invariant: codes are unique and never change.

macro_rules! error_codes {
    ($($code:literal $name:ident $retry:ident $message:literal;)*) => {
        /// An error code of the Kafka protocol, named as in Kafka.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(i16)]
        pub enum ErrorCode {
            $(#[doc = $message] $name = $code,)*
        }

        impl ErrorCode {
            /// Every code that we know, ascending.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Whether a client that gets this code may simply try again.
            pub const fn is_retriable(self) -> bool {
                match self {
                    $(Self::$name => error_codes!(@$retry),)*
                }
            }

            const fn message(self) -> &'static str {
                match self {
                    $(Self::$name => $message,)*
                }
            }
        }

        impl TryFrom<i16> for ErrorCode {
            type Error = UnknownErrorCode;

            fn try_from(code: i16) -> Result<Self, UnknownErrorCode> {
                match code {
                    $($code => Ok(Self::$name),)*
                    _ => Err(UnknownErrorCode(code)),
                }
            }
        }
    };
    (@retry) => { true };
    (@final) => { false };
}

impl ErrorCode {
    /// The number on the wire.
    pub const fn code(self) -> i16 {
        self as i16
    }
}

impl From<ErrorCode> for i16 {
    fn from(code: ErrorCode) -> i16 {
        code.code()
    }
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.message())
    }
}

/// A number that is no error code we know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a known Kafka error code")]
pub struct UnknownErrorCode(pub i16);

error_codes! {
    -1 UnknownServerError final "the server met an error that it cannot name";
    0 None final "no error";
    1 OffsetOutOfRange final "the offset is outside the range that the partition holds";
    2 CorruptMessage retry "the records fail their checksum or are otherwise corrupt";
    3 UnknownTopicOrPartition retry "this server does not host the topic or partition";
    4 InvalidFetchSize final "the fetch size is invalid";
    5 LeaderNotAvailable retry "the partition has no leader at the moment";
    6 NotLeaderOrFollower retry "this broker is neither leader nor follower of the partition";
    7 RequestTimedOut retry "the request timed out";
    8 BrokerNotAvailable final "the broker is not available";
    9 ReplicaNotAvailable retry "the replica is not available";
    10 MessageTooLarge final "a batch is larger than the topic allows";
    11 StaleControllerEpoch final "the controller has moved to another broker";
    12 OffsetMetadataTooLarge final "the metadata string of an offset commit is too long";
    13 NetworkException retry "the connection broke before a response came";
    14 CoordinatorLoadInProgress retry "the coordinator is still loading";
    15 CoordinatorNotAvailable retry "the coordinator is not available";
    16 NotCoordinator retry "this broker is not the coordinator";
    17 InvalidTopicException final "the topic name or the operation on this topic is not valid";
    18 RecordListTooLarge final "the batch is larger than a segment may be";
    19 NotEnoughReplicas retry "fewer replicas are in sync than the topic demands";
    20 NotEnoughReplicasAfterAppend retry "written, but to fewer replicas than the topic demands";
    21 InvalidRequiredAcks final "acks is not one of -1, 0 and 1";
    22 IllegalGeneration final "the generation is not the group's current one";
    23 InconsistentGroupProtocol final "the member's protocols do not match those of the group";
    24 InvalidGroupId final "the group id is not valid";
    25 UnknownMemberId final "the coordinator does not know this member";
    26 InvalidSessionTimeout final "the session timeout is outside the allowed range";
    27 RebalanceInProgress final "the group is rebalancing, so rejoin";
    28 InvalidCommitOffsetSize final "the offset commit is too large to store";
    29 TopicAuthorizationFailed final "not authorized for this topic";
    30 GroupAuthorizationFailed final "not authorized for this group";
    31 ClusterAuthorizationFailed final "not authorized for this operation on the cluster";
    32 InvalidTimestamp final "a record's timestamp is outside the allowed range";
    33 UnsupportedSaslMechanism final "the SASL mechanism is not offered here";
    34 IllegalSaslState final "the request is not valid in this SASL state";
    35 UnsupportedVersion final "this version of the API is not supported";
    36 TopicAlreadyExists final "a topic with this name already exists";
    37 InvalidPartitions final "the number of partitions is not valid";
    38 InvalidReplicationFactor final "the replication factor is not valid here";
    39 InvalidReplicaAssignment final "the replica assignment is not valid";
    40 InvalidConfig final "a configuration value is not valid";
    41 NotController retry "this broker is not the controller";
    42 InvalidRequest final "the request contradicts itself or breaks the protocol";
    43 UnsupportedForMessageFormat final "the stored message format does not support this request";
    44 PolicyViolation final "a policy of this cluster forbids the request";
    45 OutOfOrderSequenceNumber final "the producer skipped a sequence number";
    46 DuplicateSequenceNumber final "the producer repeated a sequence number";
    47 InvalidProducerEpoch final "a newer producer took over this producer id";
    48 InvalidTxnState final "the transaction is in a state that does not allow this";
    49 InvalidProducerIdMapping final "the producer id does not belong to this transactional id";
    50 InvalidTransactionTimeout final "the transaction timeout is longer than the broker allows";
    51 ConcurrentTransactions retry "another operation on this transaction is still going on";
    52 TransactionCoordinatorFenced final "a newer coordinator took over the transaction";
    53 TransactionalIdAuthorizationFailed final "not authorized for this transactional id";
    54 SecurityDisabled final "security features are switched off";
    55 OperationNotAttempted final "not attempted, since another operation in the request failed";
    56 KafkaStorageError retry "the broker's storage failed";
    57 LogDirNotFound final "the log directory does not exist";
    58 SaslAuthenticationFailed final "SASL authentication failed";
    59 UnknownProducerId final "the partition no longer remembers this producer";
    60 ReassignmentInProgress final "a reassignment of the partition is in progress";
    61 DelegationTokenAuthDisabled final "delegation tokens are switched off";
    62 DelegationTokenNotFound final "the delegation token does not exist";
    63 DelegationTokenOwnerMismatch final "the delegation token belongs to another principal";
    64 DelegationTokenRequestNotAllowed final "delegation tokens cannot be asked for on this connection";
    65 DelegationTokenAuthorizationFailed final "not authorized for this delegation token";
    66 DelegationTokenExpired final "the delegation token has expired";
    67 InvalidPrincipalType final "the principal type is not supported";
    68 NonEmptyGroup final "the group still has members";
    69 GroupIdNotFound final "the group does not exist";
    70 FetchSessionIdNotFound retry "the fetch session does not exist";
    71 InvalidFetchSessionEpoch retry "the fetch session epoch is not the expected one";
    72 ListenerNotFound retry "the leader has no such listener";
    73 TopicDeletionDisabled final "topic deletion is switched off";
    74 FencedLeaderEpoch retry "the leader epoch in the request is older than the broker's";
    75 UnknownLeaderEpoch retry "the leader epoch in the request is newer than the broker's";
    76 UnsupportedCompressionType final "the compression type is not supported in this version";
    77 StaleBrokerEpoch final "the broker epoch has changed";
    78 OffsetNotAvailable retry "the leader does not know its high watermark yet";
    79 MemberIdRequired final "join again with the member id in this response";
    80 PreferredLeaderNotAvailable retry "the preferred leader is not available";
    81 GroupMaxSizeReached final "the group has as many members as it may have";
    82 FencedInstanceId final "another member took over this group instance id";
    83 EligibleLeadersNotAvailable retry "no eligible leader is available";
    84 ElectionNotNeeded retry "the partition needs no election";
    85 NoReassignmentInProgress final "no reassignment is in progress";
    86 GroupSubscribedToTopic final "a group still consumes this topic";
    87 InvalidRecord final "a record breaks a rule of its topic";
    88 UnstableOffsetCommit retry "a transaction that commits this offset is still open";
    89 ThrottlingQuotaExceeded retry "a quota is exceeded";
    90 ProducerFenced final "a newer producer took over this transactional id";
    91 ResourceNotFound final "the resource does not exist";
    92 DuplicateResource final "the request names a resource twice";
    93 UnacceptableCredential final "the credential does not meet the rules";
    94 InconsistentVoterSet final "sender and receiver disagree on the voters";
    95 InvalidUpdateVersion final "the version of the update is not valid";
    96 FeatureUpdateFailed final "the feature could not be updated";
    97 PrincipalDeserializationFailure final "the forwarded principal cannot be read";
    98 SnapshotNotFound final "the snapshot does not exist";
    99 PositionOutOfRange final "the position is outside the snapshot";
    100 UnknownTopicId retry "this server does not host a topic with this id";
    101 DuplicateBrokerRegistration final "this broker id is already registered";
    102 BrokerIdNotRegistered final "this broker id is not registered";
    103 InconsistentTopicId retry "the topic id does not match the one in the log";
    104 InconsistentClusterId final "the cluster id is not the one of this cluster";
    105 TransactionalIdNotFound final "the transactional id does not exist";
    106 FetchSessionTopicIdError retry "the fetch session mixes topic names and topic ids";
    107 IneligibleReplica final "the replica may not join the in-sync set";
    108 NewLeaderElected final "the change of the in-sync set moved the leader";
    109 OffsetMovedToTieredStorage final "the offset has moved to tiered storage";
    110 FencedMemberEpoch final "the group fenced the member epoch, so rejoin";
    111 UnreleasedInstanceId final "another member still holds this group instance id";
    112 UnsupportedAssignor final "the group cannot use any of the member's assignors";
    113 StaleMemberEpoch final "the member epoch is stale, so retry after the next heartbeat";
    114 MismatchedEndpointType final "the request came to an endpoint of the wrong type";
    115 UnsupportedEndpointType final "the endpoint type is not supported";
    116 UnknownControllerId final "the controller id is not known";
    117 UnknownSubscriptionId final "the telemetry subscription is not valid, so fetch it again";
    118 TelemetryTooLarge final "the pushed telemetry is too large";
    119 InvalidRegistration final "the broker registration is not valid";
    120 TransactionAbortable final "the transaction must be aborted and may then be tried again";
    121 InvalidRecordState final "the state of the record does not allow this acknowledgement";
    122 ShareSessionNotFound retry "the share session does not exist";
    123 InvalidShareSessionEpoch retry "the share session epoch is not the expected one";
    124 FencedStateEpoch final "the share state epoch is older than the stored one";
    125 InvalidVoterKey final "the voter key does not match the receiver's";
    126 DuplicateVoter final "the voter is already in the set";
    127 VoterNotFound final "the voter is not in the set";
    128 InvalidRegularExpression final "the regular expression is not valid";
    129 RebootstrapRequired final "the client's metadata is too old, so start again from the bootstrap servers";
    130 StreamsInvalidTopology final "the topology is not valid";
    131 StreamsInvalidTopologyEpoch final "the topology epoch is not valid";
    132 StreamsTopologyFenced final "the topology epoch is outdated";
    133 ShareSessionLimitReached retry "the broker holds as many share sessions as it may hold";
}
