"""What users of boto3 do with a registry. Run by TestBoto3, with the server and its keys in the AWS_ variables.

Names of test methods say what holds. Each makes repositories of its own.
"""

import base64
import datetime
import hashlib
import json
import os
import re
import unittest
import urllib.error
import urllib.request

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError, ParamValidationError

ENDPOINT = os.environ["AWS_ENDPOINT_URL"]
REGION = os.environ["AWS_REGION"]
UNROUTED = set(os.environ["BERTH_UNROUTED"].split())
CONFIG = Config(retries={"total_max_attempts": 1})
PART = 5 << 20  # the least size of a layer's part that is not the last, in bytes

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"

LIFECYCLE = json.dumps({"rules": [{
    "rulePriority": 1, "description": "keep one",
    "selection": {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 1},
    "action": {"type": "expire"},
}]})


def sha(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def client(key=None):
    keys = {"aws_access_key_id": key[0], "aws_secret_access_key": key[1]} if key else {}
    return boto3.client("ecr", config=CONFIG, **keys)


def create_account(account_id):
    """The root key of a new account, made by the home account's root over Berth's operation of the IAM API."""
    request = AWSRequest("POST", ENDPOINT + "/", data="Action=BerthCreateAccount&Version=2010-05-08&AccountId=" + account_id,
                         headers={"Content-Type": "application/x-www-form-urlencoded"})
    SigV4Auth(Credentials(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]), "iam", "us-east-1").add_auth(request)
    with urllib.request.urlopen(urllib.request.Request(ENDPOINT + "/", request.data.encode(), dict(request.headers))) as answer:
        text = answer.read().decode()
    return [re.search(f"<{name}>([^<]+)</{name}>", text).group(1) for name in ("AccessKeyId", "SecretAccessKey")]


class ECR(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.ecr = client()
        cls.account = boto3.client("sts", config=CONFIG).get_caller_identity()["Account"]

    def setUp(self):
        self.name = "boto3/" + self.id().rsplit(".", 1)[-1].replace("test_", "").replace("_", "-")

    def create(self, **settings):
        return self.ecr.create_repository(repositoryName=self.name, **settings)["repository"]

    def push_layer(self, data):
        """Pushes bytes over the layer API, in parts, and returns their digest."""
        upload = self.ecr.initiate_layer_upload(repositoryName=self.name)
        size = max(PART, min(upload["partSize"], PART))
        for first in range(0, len(data), size):
            part = data[first:first + size]
            answer = self.ecr.upload_layer_part(repositoryName=self.name, uploadId=upload["uploadId"], partFirstByte=first,
                                                partLastByte=first + len(part) - 1, layerPartBlob=part)
            self.assertEqual(answer["lastByteReceived"], first + len(part) - 1)
        answer = self.ecr.complete_layer_upload(repositoryName=self.name, uploadId=upload["uploadId"], layerDigests=[sha(data)])
        self.assertEqual(answer["layerDigest"], sha(data))
        return sha(data)

    def push_image(self, tag=None, layer=None):
        """Pushes a small image; returns the digest and the manifest."""
        layer = layer if layer is not None else os.urandom(100)
        config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [sha(layer)]}}).encode()
        for blob in (config, layer):
            if self.ecr.batch_check_layer_availability(repositoryName=self.name, layerDigests=[sha(blob)])["layers"][0][
                    "layerAvailability"] != "AVAILABLE":
                self.push_layer(blob)
        manifest = json.dumps({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": sha(config), "size": len(config)},
            "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": sha(layer), "size": len(layer)}],
        })
        tagged = {"imageTag": tag} if tag else {}
        image = self.ecr.put_image(repositoryName=self.name, imageManifest=manifest, **tagged)["image"]
        self.assertEqual(image["imageId"]["imageDigest"], sha(manifest.encode()))
        return image["imageId"]["imageDigest"], manifest

    def refuses(self, exception, message, call, **arguments):
        """The call raises the client's own class for the exception, with status, message and request id."""
        with self.assertRaises(getattr(self.ecr.exceptions, exception)) as caught:
            call(**arguments)
        answer = caught.exception.response
        self.assertEqual(answer["Error"]["Code"], exception)
        if message is not None:
            self.assertEqual(answer["Error"]["Message"], message)
        self.assertEqual(answer["ResponseMetadata"]["HTTPStatusCode"], 400)
        self.assertRegex(answer["ResponseMetadata"]["RequestId"], "^[0-9a-f-]{36}$")
        self.assertEqual(answer["ResponseMetadata"]["RetryAttempts"], 0)
        return answer

    def test_a_repository_is_created_described_and_deleted(self):
        before = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=1)
        made = self.create(imageTagMutability="IMMUTABLE", tags=[{"Key": "team", "Value": "blue"}])
        self.assertEqual(made["repositoryArn"], f"arn:aws:ecr:{REGION}:{self.account}:repository/{self.name}")
        self.assertTrue(made["repositoryUri"].endswith("/" + self.name), made["repositoryUri"])
        self.assertGreater(made["createdAt"], before)
        self.assertEqual(self.ecr.describe_repositories(repositoryNames=[self.name])["repositories"], [made])
        self.assertEqual(self.ecr.list_tags_for_resource(resourceArn=made["repositoryArn"])["tags"], [{"Key": "team", "Value": "blue"}])
        self.assertEqual(self.ecr.delete_repository(repositoryName=self.name)["repository"], made)
        self.refuses("RepositoryNotFoundException",
                     f"The repository with name '{self.name}' does not exist in the registry with id '{self.account}'",
                     self.ecr.delete_repository, repositoryName=self.name)

    def test_a_login_names_the_registry_and_expires(self):
        data = self.ecr.get_authorization_token()["authorizationData"][0]
        user, password = base64.b64decode(data["authorizationToken"]).decode().split(":", 1)
        self.assertEqual(user, "AWS")
        left = data["expiresAt"] - datetime.datetime.now(datetime.timezone.utc)
        self.assertTrue(datetime.timedelta(hours=11, minutes=59) < left <= datetime.timedelta(hours=12), left)
        request = urllib.request.Request(data["proxyEndpoint"] + "/v2/")
        request.add_header("Authorization", "Basic " + data["authorizationToken"])
        with urllib.request.urlopen(request) as answer:
            self.assertEqual(answer.status, 200)
        self.assertTrue(password)

    def test_every_paginator_gives_everything_once(self):
        self.create()
        digests = {self.push_image(f"v{i}")[0] for i in range(5)}
        names = {f"{self.name}/{i}" for i in range(5)}
        prefixes = {f"boto3-{i}" for i in range(5)}
        for name in names:
            self.ecr.create_repository(repositoryName=name)
        for prefix in prefixes:
            self.ecr.create_pull_through_cache_rule(ecrRepositoryPrefix=prefix, upstreamRegistryUrl="public.ecr.aws")
        listings = {
            "describe_repositories": ({}, "repositories", "repositoryName", names),
            "describe_images": ({"repositoryName": self.name}, "imageDetails", "imageDigest", digests),
            "list_images": ({"repositoryName": self.name}, "imageIds", "imageDigest", digests),
            "describe_pull_through_cache_rules": ({}, "pullThroughCacheRules", "ecrRepositoryPrefix", prefixes),
        }
        elsewhere = {"describe_image_scan_findings", "describe_repository_creation_templates", "get_lifecycle_policy_preview"}
        offered = {name for name in self.ecr.meta.method_to_api_mapping if self.ecr.can_paginate(name)}
        self.assertEqual(offered, set(listings) | elsewhere, "boto3 has other paginators than this test knows")
        for operation, (arguments, result, member, want) in listings.items():
            with self.subTest(operation):
                paginator = self.ecr.get_paginator(operation)
                seen = []
                for page in paginator.paginate(PaginationConfig={"PageSize": 2}, **arguments):
                    self.assertLessEqual(len(page[result]), 2)
                    seen += [item[member] for item in page[result]]
                self.assertEqual(len(seen), len(set(seen)))
                self.assertLessEqual(want, set(seen))
                # Stopping in the middle and going on later, as --max-items and --starting-token do.
                first = paginator.paginate(PaginationConfig={"MaxItems": 3, "PageSize": 2}, **arguments).build_full_result()
                rest = paginator.paginate(PaginationConfig={"StartingToken": first["NextToken"], "PageSize": 2}, **arguments).build_full_result()
                self.assertEqual([item[member] for item in first[result] + rest[result]], seen)

    def test_waiters_wait(self):
        waiting = {"image_scan_complete": "DescribeImageScanFindings", "lifecycle_policy_preview_complete": "GetLifecyclePolicyPreview"}
        self.assertEqual(set(self.ecr.waiter_names), set(waiting), "boto3 has other waiters than this test knows")
        self.create()
        self.push_image("v1")
        self.push_image("v2")
        if waiting["lifecycle_policy_preview_complete"] not in UNROUTED:
            self.ecr.start_lifecycle_policy_preview(repositoryName=self.name, lifecyclePolicyText=LIFECYCLE)
            self.ecr.get_waiter("lifecycle_policy_preview_complete").wait(
                repositoryName=self.name, WaiterConfig={"Delay": 1, "MaxAttempts": 30})
            preview = self.ecr.get_lifecycle_policy_preview(repositoryName=self.name)
            self.assertEqual((preview["status"], preview["summary"]["expiringImageTotalCount"]), ("COMPLETE", 1))

    def test_an_image_is_pushed_and_pulled_over_the_layer_api(self):
        self.create()
        layer = os.urandom(2 * PART + 12345)  # three parts
        digest, manifest = self.push_image("v1", layer)
        got = self.ecr.batch_get_image(repositoryName=self.name, imageIds=[{"imageTag": "v1"}], acceptedMediaTypes=[MANIFEST])
        self.assertEqual(got["failures"], [])
        self.assertEqual((got["images"][0]["imageManifest"], got["images"][0]["imageManifestMediaType"]), (manifest, MANIFEST))
        detail = self.ecr.describe_images(repositoryName=self.name, imageIds=[{"imageDigest": digest}])["imageDetails"][0]
        self.assertEqual((detail["imageTags"], detail["imageSizeInBytes"] > len(layer)), (["v1"], True))
        url = self.ecr.get_download_url_for_layer(repositoryName=self.name, layerDigest=sha(layer))["downloadUrl"]
        with urllib.request.urlopen(url) as answer:  # without any credentials
            self.assertEqual(sha(answer.read()), sha(layer))
        part = urllib.request.Request(url, headers={"Range": "bytes=100-199"})
        with urllib.request.urlopen(part) as answer:
            self.assertEqual((answer.status, answer.read()), (206, layer[100:200]))
        # The ticket is good for this layer only.
        config = json.loads(manifest)["config"]["digest"]
        for other in (url.replace(sha(layer), config), url.split("?")[0], url[:-1]):
            with self.assertRaises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(other)
            self.assertIn(caught.exception.code, (401, 403), other)
            caught.exception.close()

    def test_exceptions_have_their_classes(self):
        repo = {"repositoryName": self.name}
        made = self.create()
        absent = "sha256:" + "0" * 64
        self.refuses("RepositoryAlreadyExistsException",
                     f"The repository with name '{self.name}' already exists in the registry with id '{self.account}'",
                     self.ecr.create_repository, **repo)
        digest, manifest = self.push_image("v1")
        layer = json.loads(manifest)["layers"][0]["digest"]
        self.refuses("RepositoryNotEmptyException", f"The repository with name '{self.name}' in registry with id '{self.account}' "
                     "cannot be deleted because it still contains images", self.ecr.delete_repository, **repo)
        self.refuses("ImageAlreadyExistsException", f"Image with digest '{digest}' and tag 'v1' already exists in the repository with name "
                     f"'{self.name}' in registry with id '{self.account}'", self.ecr.put_image, imageManifest=manifest, imageTag="v1", **repo)
        self.refuses("ImageNotFoundException", f"The image with imageId {{imageDigest:'null', imageTag:'none'}} does not exist within "
                     f"the repository with name '{self.name}' in the registry with id '{self.account}'",
                     self.ecr.describe_images, imageIds=[{"imageTag": "none"}], **repo)
        self.refuses("ImageDigestDoesNotMatchException", None, self.ecr.put_image, imageManifest=manifest, imageDigest=absent, **repo)
        self.refuses("LayersNotFoundException", None, self.ecr.put_image, imageManifest=manifest.replace(layer, absent), **repo)
        index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [{"mediaType": MANIFEST, "digest": absent, "size": 2}]})
        self.refuses("ReferencedImagesNotFoundException", f"Images with digests '[{absent}]' required for pushing image into repository "
                     f"with name '{self.name}' in the registry with id '{self.account}' do not exist",
                     self.ecr.put_image, imageManifest=index, **repo)
        self.ecr.put_image_tag_mutability(imageTagMutability="IMMUTABLE", **repo)
        self.refuses("ImageTagAlreadyExistsException", f"The image tag 'v1' already exists in the '{self.name}' repository and cannot be "
                     "overwritten because the tag is immutable.", self.ecr.put_image, imageManifest=manifest + " ", imageTag="v1", **repo)
        self.refuses("RepositoryPolicyNotFoundException", f"Repository policy does not exist for the repository with name '{self.name}' "
                     f"in the registry with id '{self.account}'", self.ecr.get_repository_policy, **repo)
        self.refuses("LifecyclePolicyNotFoundException", f"Lifecycle policy does not exist for the repository with name '{self.name}' "
                     f"in the registry with id '{self.account}'", self.ecr.get_lifecycle_policy, **repo)
        self.refuses("RegistryPolicyNotFoundException", f"Registry policy does not exist in the registry with id '{self.account}'",
                     self.ecr.get_registry_policy)
        self.refuses("SigningConfigurationNotFoundException", None, self.ecr.get_signing_configuration)
        self.refuses("PullThroughCacheRuleNotFoundException", None, self.ecr.delete_pull_through_cache_rule, ecrRepositoryPrefix="none")
        self.refuses("UnsupportedUpstreamRegistryException", None, self.ecr.create_pull_through_cache_rule,
                     ecrRepositoryPrefix="none", upstreamRegistryUrl="https://not a host")
        self.refuses("ExclusionNotFoundException", None, self.ecr.deregister_pull_time_update_exclusion,
                     principalArn=f"arn:aws:iam::{self.account}:role/none")
        self.refuses("LayersNotFoundException", None, self.ecr.get_download_url_for_layer, layerDigest=absent, **repo)
        self.refuses("TooManyTagsException", None, self.ecr.tag_resource, resourceArn=made["repositoryArn"],
                     tags=[{"Key": f"k{i}", "Value": ""} for i in range(51)])
        self.refuses("InvalidTagParameterException", None, self.ecr.tag_resource, resourceArn=made["repositoryArn"],
                     tags=[{"Key": "aws:mine", "Value": ""}])
        self.refuses("InvalidParameterException", "Invalid parameter at 'maxResults' failed to satisfy constraint: "
                     "'Member must have value less than or equal to 1000'", self.ecr.describe_repositories, maxResults=1001)
        answer = self.refuses("KmsException", None, self.ecr.create_repository, repositoryName=self.name + "/sealed", encryptionConfiguration={
            "encryptionType": "KMS", "kmsKey": f"arn:aws:kms:{REGION}:{self.account}:key/11111111-2222-3333-4444-555555555555"})
        self.assertEqual(answer["kmsError"], "NotFoundException")

    def test_exceptions_of_uploads_have_their_classes(self):
        self.create()
        repo = {"repositoryName": self.name}
        absent = "sha256:" + "0" * 64
        self.refuses("UploadNotFoundException", None, self.ecr.complete_layer_upload, uploadId="11111111-2222-3333-4444-555555555555",
                     layerDigests=[absent], **repo)
        upload = self.ecr.initiate_layer_upload(**repo)["uploadId"]
        self.refuses("EmptyUploadException", None, self.ecr.complete_layer_upload, uploadId=upload, layerDigests=[absent], **repo)
        part = {"uploadId": upload, "layerPartBlob": b"four", **repo}
        self.ecr.upload_layer_part(partFirstByte=0, partLastByte=3, **part)
        answer = self.refuses("InvalidLayerPartException", None, self.ecr.upload_layer_part, partFirstByte=9, partLastByte=12, **part)
        self.assertEqual((answer["lastValidByteReceived"], answer["uploadId"], answer["repositoryName"], answer["registryId"]),
                         (3, upload, self.name, self.account))
        self.refuses("InvalidLayerException", None, self.ecr.complete_layer_upload, uploadId=upload, layerDigests=[absent], **repo)
        digest = self.push_layer(b"a layer")
        upload = self.ecr.initiate_layer_upload(**repo)["uploadId"]
        self.ecr.upload_layer_part(uploadId=upload, partFirstByte=0, partLastByte=6, layerPartBlob=b"a layer", **repo)
        self.refuses("LayerAlreadyExistsException", None, self.ecr.complete_layer_upload, uploadId=upload, layerDigests=[digest], **repo)
        self.refuses("LayerInaccessibleException", None, self.ecr.get_download_url_for_layer, layerDigest=digest, **repo)
        upload = self.ecr.initiate_layer_upload(**repo)["uploadId"]
        self.ecr.upload_layer_part(uploadId=upload, partFirstByte=0, partLastByte=0, layerPartBlob=b"a", **repo)
        self.ecr.upload_layer_part(uploadId=upload, partFirstByte=1, partLastByte=1, layerPartBlob=b"b", **repo)
        self.refuses("LayerPartTooSmallException", None, self.ecr.complete_layer_upload, uploadId=upload, layerDigests=[sha(b"ab")], **repo)

    def test_boto3_refuses_what_the_model_forbids_before_it_asks(self):
        for call, arguments in ((self.ecr.create_repository, {}), (self.ecr.create_repository, {"repositoryName": "a"}),
                                (self.ecr.batch_get_image, {"repositoryName": self.name, "imageIds": []})):
            with self.assertRaises(ParamValidationError):
                call(**arguments)

    def test_what_is_not_offered_says_so(self):
        self.assertLessEqual(UNROUTED, set(self.ecr.meta.method_to_api_mapping.values()) | {
            # newer than boto3's model
            "StartReplicationBackfill", "StopReplicationBackfill", "ListReplicationBackfills", "DescribeReplicationBackfillResults"})
        if "StartImageScan" in UNROUTED:
            with self.assertRaises(ClientError) as caught:
                self.ecr.start_image_scan(repositoryName=self.name, imageId={"imageTag": "v1"})
            self.assertEqual(caught.exception.response["Error"]["Code"], "UnknownOperationException")

    def test_another_account_uses_what_a_policy_allows(self):
        self.create()
        digest, manifest = self.push_image("v1")
        layer = json.loads(manifest)["layers"][0]["digest"]
        partner_id = "123456789012"
        partner = client(create_account(partner_id))
        theirs = {"registryId": self.account, "repositoryName": self.name}

        def denied(action, call, **arguments):
            with self.assertRaises(ClientError) as caught:
                call(**arguments)
            error = caught.exception.response["Error"]
            self.assertEqual(error["Code"], "AccessDeniedException")
            self.assertEqual(error["Message"], f"User: arn:aws:iam::{partner_id}:root is not authorized to perform: ecr:{action} on resource: "
                             f"arn:aws:ecr:{REGION}:{self.account}:repository/{self.name} because no resource-based policy allows the "
                             f"ecr:{action} action")

        denied("ListImages", partner.list_images, **theirs)
        self.ecr.set_repository_policy(repositoryName=self.name, policyText=json.dumps({
            "Version": "2012-10-17", "Statement": [{
                "Sid": "Partner", "Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{partner_id}:root"},
                "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:ListImages", "ecr:DescribeImages"]}]}))
        self.assertEqual(partner.list_images(**theirs)["imageIds"], [{"imageDigest": digest, "imageTag": "v1"}])
        got = partner.batch_get_image(imageIds=[{"imageTag": "v1"}], **theirs)["images"][0]
        self.assertEqual((got["registryId"], got["imageManifest"]), (self.account, manifest))
        with urllib.request.urlopen(partner.get_download_url_for_layer(layerDigest=layer, **theirs)["downloadUrl"]) as answer:
            self.assertEqual(sha(answer.read()), layer)
        self.assertEqual(partner.describe_images(**theirs)["imageDetails"][0]["registryId"], self.account)
        denied("PutImage", partner.put_image, imageManifest=manifest, imageTag="theirs", **theirs)
        denied("DeleteRepository", partner.delete_repository, force=True, **theirs)
        # Without registryId it is the partner's own registry.
        with self.assertRaises(partner.exceptions.RepositoryNotFoundException) as caught:
            partner.list_images(repositoryName=self.name)
        self.assertEqual(caught.exception.response["Error"]["Message"],
                         f"The repository with name '{self.name}' does not exist in the registry with id '{partner_id}'")
        own = partner.create_repository(repositoryName=self.name)["repository"]
        self.assertEqual((own["registryId"], own["repositoryArn"]), (partner_id, f"arn:aws:ecr:{REGION}:{partner_id}:repository/{self.name}"))
        self.assertEqual(partner.list_images(repositoryName=self.name)["imageIds"], [])
        self.ecr.delete_repository_policy(repositoryName=self.name)
        denied("BatchGetImage", partner.batch_get_image, imageIds=[{"imageTag": "v1"}], **theirs)


if __name__ == "__main__":
    unittest.main(verbosity=2)
