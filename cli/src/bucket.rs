//! The settings of an S3 bucket itself, which `init` makes and `doctor` looks at.
//!
//! Must not know commands, nor what is in the bucket: that goes through `strandline_core::store`. Invariants: looking changes
//! nothing; of settings that somebody else made, nothing is taken away.

mod lifecycle;
mod policy;

use std::env;

use anyhow::{Result, anyhow, bail};
use aws_config::BehaviorVersion;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::Region;
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types::{
    BucketLifecycleConfiguration, BucketLocationConstraint, BucketVersioningStatus,
    CreateBucketConfiguration, LifecycleRule, PublicAccessBlockConfiguration, ServerSideEncryption,
    ServerSideEncryptionByDefault, ServerSideEncryptionConfiguration, ServerSideEncryptionRule,
    TransitionDefaultMinimumObjectSize,
};
use url::Url;

use crate::output;

/// Where a bucket is if nobody says so; it must not be said when it is made there.
const FIRST_REGION: &str = "us-east-1";
/// What stores other than Amazon's say of what they do not have.
const NOT_OFFERED: [&str; 6] = [
    "NotImplemented",
    "MalformedXML",
    "MalformedPolicy",
    "InvalidRequest",
    "InvalidArgument",
    "MethodNotAllowed",
];

/// A bucket, and the prefix in it that is the cluster.
#[derive(Debug)]
pub(crate) struct Bucket {
    client: Client,
    name: String,
    prefix: String,
    region: String,
    /// It is reached by TLS, so that nothing else need be let in.
    secure: bool,
    /// A server that is not Amazon's.
    foreign: bool,
    /// Who may delete (ARNs of roles); none: nobody is kept from it.
    collectors: Vec<String>,
    /// Nobody else has anything in it, so that what holds for all of it may be set.
    whole: bool,
}

/// What a bucket should be like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Setting {
    Encryption,
    PublicAccess,
    Lifecycle,
    Policy,
    Versioning,
}

impl Setting {
    pub(crate) const ALL: [Setting; 5] = [
        Setting::Encryption,
        Setting::Lifecycle,
        Setting::Policy,
        Setting::PublicAccess,
        Setting::Versioning,
    ];

    /// Whether it holds for all of the bucket, and not for the log alone.
    pub(crate) fn is_of_all(self) -> bool {
        matches!(self, Setting::Encryption | Setting::PublicAccess)
    }

    /// As a rule.
    pub(crate) fn rule(self) -> &'static str {
        match self {
            Setting::Encryption => "objects are encrypted where they lie",
            Setting::PublicAccess => "nothing can be made public",
            Setting::Lifecycle => "unfinished uploads are removed, and no rule deletes objects",
            Setting::Policy => "the journal takes conditional writes only",
            Setting::Versioning => "what is deleted is gone: no old versions are kept",
        }
    }
}

/// How a setting was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    Good,
    /// It is not as it should be, and `init` can make it so.
    Drift(String),
    /// It costs money or worse, and only its owner may change it.
    Warning(String),
    /// The log is in danger.
    Harm(String),
    /// This store has no such setting.
    NotOffered,
    /// It cannot be looked at.
    Unknown(String),
}

impl Bucket {
    /// The bucket of a URL; `None` if it is not on S3 or the like.
    pub(crate) async fn of(url: &str, collectors: Vec<String>) -> Result<Option<Bucket>> {
        let Ok(parsed) = Url::parse(url) else { return Ok(None) };
        if !matches!(parsed.scheme(), "s3" | "s3a") {
            return Ok(None);
        }
        let name = parsed.host_str().ok_or_else(|| anyhow!("{url} names no bucket"))?.to_owned();
        let set = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let endpoint = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"].into_iter().find_map(set);
        let region = ["AWS_REGION", "AWS_DEFAULT_REGION"].into_iter().find_map(set);
        let region = region.unwrap_or_else(|| FIRST_REGION.to_owned());
        let mut loader = aws_config::defaults(BehaviorVersion::latest()).region(Region::new(region.clone()));
        if let Some(endpoint) = &endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        let shared = loader.load().await;
        let config = aws_sdk_s3::config::Builder::from(&shared).force_path_style(endpoint.is_some()).build();
        Ok(Some(Bucket {
            client: Client::from_conf(config),
            name,
            prefix: parsed.path().trim_matches('/').to_owned(),
            region,
            secure: endpoint.as_ref().is_none_or(|endpoint| endpoint.starts_with("https:")),
            foreign: endpoint.is_some_and(|endpoint| !endpoint.contains(".amazonaws.com")),
            collectors,
            whole: false,
        }))
    }

    /// From here on, what holds for all of the bucket is wanted, too.
    pub(crate) fn take_whole(&mut self) {
        self.whole = true;
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is there.
    pub(crate) async fn exists(&self) -> Result<bool> {
        match self.client.head_bucket().bucket(&self.name).send().await {
            Ok(_) => Ok(true),
            Err(SdkError::ServiceError(failed)) if failed.raw().status().as_u16() == 404 => Ok(false),
            Err(SdkError::ServiceError(failed)) if failed.raw().status().as_u16() == 403 => bail!(
                "the bucket {} belongs to somebody else, or these credentials may not see it",
                self.name
            ),
            Err(error) => Err(failed("look for the bucket", &self.name, &error)),
        }
    }

    /// Makes it.
    pub(crate) async fn create(&self) -> Result<()> {
        let elsewhere = (self.region != FIRST_REGION).then(|| {
            let region = BucketLocationConstraint::from(self.region.as_str());
            CreateBucketConfiguration::builder().location_constraint(region).build()
        });
        let made = self.client.create_bucket().bucket(&self.name).set_create_bucket_configuration(elsewhere);
        made.send().await.map(drop).map_err(|error| failed("make the bucket", &self.name, &error))
    }

    /// How a setting is.
    pub(crate) async fn look(&self, setting: Setting) -> Found {
        let found = match setting {
            Setting::Encryption => self.look_at_encryption().await,
            Setting::PublicAccess => self.look_at_public_access().await,
            Setting::Lifecycle => {
                self.lifecycle().await.map(|(rules, _)| lifecycle::judge(&rules, &self.prefix))
            }
            Setting::Policy => {
                self.policy().await.map(|policy| policy::judge(policy.as_deref(), &self.wanted()))
            }
            Setting::Versioning => self.look_at_versioning().await,
        };
        found.unwrap_or_else(|found| found)
    }

    /// Makes a setting as it should be.
    ///
    /// # Errors
    /// [`Found::NotOffered`], or [`Found::Unknown`] with the reason why it could not be made.
    pub(crate) async fn set(&self, setting: Setting) -> Result<(), Found> {
        match setting {
            Setting::Encryption => {
                let default =
                    ServerSideEncryptionByDefault::builder().sse_algorithm(ServerSideEncryption::Aes256);
                let default = default.build().map_err(|error| Found::Unknown(error.to_string()))?;
                let rule = ServerSideEncryptionRule::builder()
                    .apply_server_side_encryption_by_default(default)
                    .build();
                let wanted = ServerSideEncryptionConfiguration::builder().rules(rule).build();
                let wanted = wanted.map_err(|error| Found::Unknown(error.to_string()))?;
                let put = self.client.put_bucket_encryption().bucket(&self.name);
                put.server_side_encryption_configuration(wanted)
                    .send()
                    .await
                    .map(drop)
                    .map_err(|e| self.found(&e))
            }
            Setting::PublicAccess => {
                let block = PublicAccessBlockConfiguration::builder()
                    .block_public_acls(true)
                    .ignore_public_acls(true)
                    .block_public_policy(true)
                    .restrict_public_buckets(true)
                    .build();
                let put = self.client.put_public_access_block().bucket(&self.name);
                put.public_access_block_configuration(block)
                    .send()
                    .await
                    .map(drop)
                    .map_err(|e| self.found(&e))
            }
            Setting::Lifecycle => {
                let (rules, least_size) = self.lifecycle().await?;
                let rules = lifecycle::with_ours(rules, &self.prefix)?;
                let wanted = BucketLifecycleConfiguration::builder().set_rules(Some(rules)).build();
                let wanted = wanted.map_err(|error| Found::Unknown(error.to_string()))?;
                let put = self.client.put_bucket_lifecycle_configuration().bucket(&self.name);
                let put = put.set_transition_default_minimum_object_size(least_size);
                put.lifecycle_configuration(wanted).send().await.map(drop).map_err(|e| self.found(&e))
            }
            Setting::Policy => {
                let wanted = policy::with_ours(self.policy().await?.as_deref(), &self.wanted())?;
                let put = self.client.put_bucket_policy().bucket(&self.name).policy(wanted);
                put.send().await.map(drop).map_err(|error| self.found(&error))
            }
            Setting::Versioning => Err(Found::Unknown("that is its owner's to change".to_owned())),
        }
    }

    /// The statements that its policy should have.
    fn wanted(&self) -> policy::Wanted<'_> {
        policy::Wanted {
            bucket: &self.name,
            prefix: &self.prefix,
            partition: match &self.region {
                region if region.starts_with("cn-") => "aws-cn",
                region if region.starts_with("us-gov-") => "aws-us-gov",
                _ => "aws",
            },
            secure: self.secure && self.whole,
            collectors: &self.collectors,
        }
    }

    async fn look_at_encryption(&self) -> Result<Found, Found> {
        match self.client.get_bucket_encryption().bucket(&self.name).send().await {
            Ok(found) => {
                let rules =
                    found.server_side_encryption_configuration().map_or(0, |rules| rules.rules().len());
                Ok(if rules > 0 { Found::Good } else { Found::Drift("no rule says so".to_owned()) })
            }
            Err(error) if error.code() == Some("ServerSideEncryptionConfigurationNotFoundError") => {
                Ok(Found::Drift("no rule says so".to_owned()))
            }
            Err(error) => Err(self.found(&error)),
        }
    }

    async fn look_at_public_access(&self) -> Result<Found, Found> {
        let found = match self.client.get_public_access_block().bucket(&self.name).send().await {
            Ok(found) => found,
            Err(error) if error.code() == Some("NoSuchPublicAccessBlockConfiguration") => {
                return Ok(Found::Drift("nothing is blocked".to_owned()));
            }
            Err(error) => return Err(self.found(&error)),
        };
        let all = found.public_access_block_configuration().is_some_and(|block| {
            let parts = [
                block.block_public_acls(),
                block.ignore_public_acls(),
                block.block_public_policy(),
                block.restrict_public_buckets(),
            ];
            parts.into_iter().all(|part| part == Some(true))
        });
        Ok(if all { Found::Good } else { Found::Drift("not all of it is blocked".to_owned()) })
    }

    async fn look_at_versioning(&self) -> Result<Found, Found> {
        let found = self.client.get_bucket_versioning().bucket(&self.name).send().await;
        let found = found.map_err(|error| self.found(&error))?;
        Ok(match found.status() {
            Some(BucketVersioningStatus::Enabled) => Found::Warning(
                "old versions are kept, and paid for, although the log deletes them; nothing in it needs them"
                    .to_owned(),
            ),
            _ => Found::Good,
        })
    }

    /// The rules that there are, and what else a new list of them would reset.
    async fn lifecycle(
        &self,
    ) -> Result<(Vec<LifecycleRule>, Option<TransitionDefaultMinimumObjectSize>), Found> {
        match self.client.get_bucket_lifecycle_configuration().bucket(&self.name).send().await {
            Ok(found) => Ok((found.rules.unwrap_or_default(), found.transition_default_minimum_object_size)),
            Err(error) if error.code() == Some("NoSuchLifecycleConfiguration") => Ok((Vec::new(), None)),
            Err(error) => Err(self.found(&error)),
        }
    }

    async fn policy(&self) -> Result<Option<String>, Found> {
        match self.client.get_bucket_policy().bucket(&self.name).send().await {
            Ok(found) => Ok(found.policy),
            Err(error) if error.code() == Some("NoSuchBucketPolicy") => Ok(None),
            Err(error) => Err(self.found(&error)),
        }
    }

    /// What a request that failed says of the setting.
    fn found<E: ProvideErrorMetadata, R>(&self, error: &SdkError<E, R>) -> Found
    where
        SdkError<E, R>: std::error::Error,
    {
        match error.code() {
            Some(code) if self.foreign && NOT_OFFERED.contains(&code) => Found::NotOffered,
            Some("AccessDenied") => Found::Unknown("these credentials may not do that".to_owned()),
            _ => Found::Unknown(output::plain(&DisplayErrorContext(error).to_string())),
        }
    }
}

fn failed<E, R>(what: &str, bucket: &str, error: &SdkError<E, R>) -> anyhow::Error
where
    SdkError<E, R>: std::error::Error,
{
    anyhow!("cannot {what} {bucket}: {}", output::plain(&DisplayErrorContext(error).to_string()))
}
