//! Which APIs and versions we serve, and which we say we serve.
//!
//! Must not know any message. Invariant: this table is the only place with a version bound, so
//! what ApiVersions advertises, what decode accepts and what encode writes cannot drift apart.

#[cfg(test)]
mod tests;

/// The versions of one API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApiRange {
    /// The API.
    pub key: ApiKey,
    /// The lowest version that ApiVersions names. Below `min` only for Produce, where Kafka 4
    /// tells the same lie: librdkafka before 2.11.1 turns compression off unless v0 is in range.
    /// Above it only for DescribeConfigs, whose v0 Sarama 1.22 sends without asking.
    pub advertised_min: i16,
    /// The lowest version that we decode.
    pub min: i16,
    /// The highest version that we decode and that ApiVersions names.
    pub max: i16,
    /// The first version with compact lengths and tagged fields, `i16::MAX` for none.
    pub flexible_from: i16,
}

impl ApiRange {
    /// Whether we decode and encode this version.
    pub const fn serves(&self, version: i16) -> bool {
        self.min <= version && version <= self.max
    }

    /// Whether this version has compact lengths and tagged fields.
    pub const fn is_flexible(&self, version: i16) -> bool {
        version >= self.flexible_from
    }
}

/// Stands for the first flexible version of an API that has none.
const NEVER: i16 = i16::MAX;

macro_rules! apis {
    ($($name:ident = $key:literal, advertised $advertised:literal, served $min:literal - $max:literal, flexible $flexible:expr;)*) => {
        /// An API that we serve.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(i16)]
        pub enum ApiKey {
            $(#[doc = concat!("`", stringify!($name), "`, api key ", stringify!($key))] $name = $key,)*
        }

        impl ApiKey {
            /// The name in Kafka's documentation, for metrics and logs.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }

            /// The versions of this API.
            pub const fn range(self) -> ApiRange {
                match self {
                    $(Self::$name => ApiRange {
                        key: Self::$name,
                        advertised_min: $advertised,
                        min: $min,
                        max: $max,
                        flexible_from: $flexible,
                    },)*
                }
            }
        }

        impl TryFrom<i16> for ApiKey {
            type Error = UnknownApiKey;

            fn try_from(key: i16) -> Result<Self, UnknownApiKey> {
                match key {
                    $($key => Ok(Self::$name),)*
                    _ => Err(UnknownApiKey(key)),
                }
            }
        }

        const TABLE: &[ApiRange] = &[$(ApiKey::$name.range()),*];
    };
}

apis! {
    Produce                    =  0, advertised 0, served 3 - 13, flexible 9;
    Fetch                      =  1, advertised 4, served 4 - 17, flexible 12;
    ListOffsets                =  2, advertised 0, served 0 - 10, flexible 6;
    Metadata                   =  3, advertised 0, served 0 - 13, flexible 9;
    OffsetCommit               =  8, advertised 1, served 1 - 9,  flexible 8;
    OffsetFetch                =  9, advertised 1, served 1 - 9,  flexible 6;
    FindCoordinator            = 10, advertised 0, served 0 - 6,  flexible 3;
    JoinGroup                  = 11, advertised 0, served 0 - 9,  flexible 6;
    Heartbeat                  = 12, advertised 0, served 0 - 4,  flexible 4;
    LeaveGroup                 = 13, advertised 0, served 0 - 5,  flexible 4;
    SyncGroup                  = 14, advertised 0, served 0 - 5,  flexible 4;
    DescribeGroups             = 15, advertised 0, served 0 - 6,  flexible 5;
    ListGroups                 = 16, advertised 0, served 0 - 5,  flexible 3;
    ApiVersions                = 18, advertised 0, served 0 - 4,  flexible 3;
    CreateTopics               = 19, advertised 2, served 2 - 7,  flexible 5;
    DeleteTopics               = 20, advertised 1, served 1 - 6,  flexible 4;
    DeleteRecords              = 21, advertised 0, served 0 - 2,  flexible 2;
    InitProducerId             = 22, advertised 0, served 0 - 5,  flexible 2;
    OffsetForLeaderEpoch       = 23, advertised 2, served 2 - 4,  flexible 4;
    AddPartitionsToTxn         = 24, advertised 0, served 0 - 3,  flexible 3;
    AddOffsetsToTxn            = 25, advertised 0, served 0 - 4,  flexible 3;
    EndTxn                     = 26, advertised 0, served 0 - 5,  flexible 3;
    TxnOffsetCommit            = 28, advertised 0, served 0 - 5,  flexible 3;
    DescribeAcls               = 29, advertised 1, served 1 - 3,  flexible 2;
    CreateAcls                 = 30, advertised 1, served 1 - 3,  flexible 2;
    DeleteAcls                 = 31, advertised 1, served 1 - 3,  flexible 2;
    DescribeConfigs            = 32, advertised 1, served 0 - 4,  flexible 4;
    AlterConfigs               = 33, advertised 0, served 0 - 2,  flexible 2;
    DescribeLogDirs            = 35, advertised 1, served 1 - 4,  flexible 2;
    CreatePartitions           = 37, advertised 0, served 0 - 3,  flexible 2;
    DeleteGroups               = 42, advertised 0, served 0 - 2,  flexible 2;
    IncrementalAlterConfigs    = 44, advertised 0, served 0 - 1,  flexible 1;
    ListPartitionReassignments = 46, advertised 0, served 0 - 0,  flexible 0;
    OffsetDelete               = 47, advertised 0, served 0 - 0,  flexible NEVER;
    DescribeCluster            = 60, advertised 0, served 0 - 2,  flexible 0;
    DescribeProducers          = 61, advertised 0, served 0 - 0,  flexible 0;
    DescribeTransactions       = 65, advertised 0, served 0 - 0,  flexible 0;
    ListTransactions           = 66, advertised 0, served 0 - 2,  flexible 0;
    ConsumerGroupHeartbeat     = 68, advertised 0, served 0 - 1,  flexible 0;
    ConsumerGroupDescribe      = 69, advertised 0, served 0 - 1,  flexible 0;
}

impl ApiKey {
    /// The number on the wire.
    pub const fn code(self) -> i16 {
        self as i16
    }
}

/// A number that is no API we serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("api key {0} is not served")]
pub struct UnknownApiKey(pub i16);

/// Every API that we serve, by ascending key.
pub const fn table() -> &'static [ApiRange] {
    TABLE
}
