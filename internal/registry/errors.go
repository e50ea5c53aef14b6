package registry

import (
	"errors"
	"fmt"
	"net/http"
)

// A Code is a reason to refuse. The table below gives it its form at each door.
type Code int

// The reasons.
const (
	InvalidParameter Code = iota + 1
	RepositoryNotFound
	RepositoryAlreadyExists
	RepositoryNotEmpty
	ImageNotFound
	ImageAlreadyExists
	ImageTagAlreadyExists
	ImageDigestDoesNotMatch
	ReferencedImagesNotFound
	LayersMissing // a manifest names layers that are not there
	LayerNotFound // a layer was asked for
	LayerInaccessible
	LayerAlreadyExists
	LayerPartTooSmall
	EmptyUpload
	InvalidLayer
	InvalidLayerPart
	UploadNotFound
	LimitExceeded
	TooManyTags
	InvalidTagParameter
	LifecyclePolicyNotFound
	LifecyclePreviewNotFound
	LifecyclePreviewInProgress
	RepositoryPolicyNotFound
	RegistryPolicyNotFound
	CacheRuleNotFound
	CacheRuleAlreadyExists
	UnsupportedUpstreamRegistry
	ManifestTooLarge
	ImageReferenced // something still points at what should go
	KMSFailure      // the KMS key cannot be used
	ExclusionAlreadyExists
	ExclusionNotFound
	SigningConfigurationNotFound
	TemplateAlreadyExists
	TemplateNotFound
	StorageClassNotSupported
	ImageArchived // an archived image was to be scanned
	UnsupportedImageType
	ScanNotFound
	ImageBarred     // its findings keep it from being pulled (Admission)
	FeatureDisabled // of basic scanning, when scanning is enhanced
	BackfillInProgress
	BackfillInvalidStatus
	BackfillNotFound
	TemplateUnusable    // a repository cannot be created by it
	UpstreamDenied      // the upstream of a cached repository does not let us in
	UpstreamTooMany     // it wants to be left alone
	UpstreamUnavailable // it cannot be reached, or what it gives cannot be kept
	SecretNotFound      // the secret of a cache rule is not there
	SecretUnreachable   // it may not be read
	SecretSealed        // it cannot be decrypted
)

// A Form is how a refusal looks from outside.
type Form struct {
	Exception string // ECR API
	Status    int
	OCICode   string // OCI Distribution API
	OCIStatus int
}

// forms is the one table from reasons to ECR exceptions (internal/ecr lists
// their statuses), OCI error codes (distribution-spec, "Error Codes") and the
// statuses that ECR's data plane answers with.
var forms = map[Code]Form{
	InvalidParameter:             {"InvalidParameterException", http.StatusBadRequest, "UNSUPPORTED", http.StatusMethodNotAllowed},
	RepositoryNotFound:           {"RepositoryNotFoundException", http.StatusBadRequest, "NAME_UNKNOWN", http.StatusNotFound},
	RepositoryAlreadyExists:      {"RepositoryAlreadyExistsException", http.StatusBadRequest, "DENIED", http.StatusConflict},
	RepositoryNotEmpty:           {"RepositoryNotEmptyException", http.StatusBadRequest, "DENIED", http.StatusConflict},
	ImageNotFound:                {"ImageNotFoundException", http.StatusBadRequest, "MANIFEST_UNKNOWN", http.StatusNotFound},
	ImageAlreadyExists:           {"ImageAlreadyExistsException", http.StatusBadRequest, "DENIED", http.StatusConflict},
	ImageTagAlreadyExists:        {"ImageTagAlreadyExistsException", http.StatusBadRequest, "TAG_INVALID", http.StatusBadRequest},
	ImageDigestDoesNotMatch:      {"ImageDigestDoesNotMatchException", http.StatusBadRequest, "DIGEST_INVALID", http.StatusBadRequest},
	ReferencedImagesNotFound:     {"ReferencedImagesNotFoundException", http.StatusBadRequest, "MANIFEST_BLOB_UNKNOWN", http.StatusNotFound},
	LayersMissing:                {"LayersNotFoundException", http.StatusBadRequest, "MANIFEST_BLOB_UNKNOWN", http.StatusNotFound},
	LayerNotFound:                {"LayersNotFoundException", http.StatusBadRequest, "BLOB_UNKNOWN", http.StatusNotFound},
	LayerInaccessible:            {"LayerInaccessibleException", http.StatusBadRequest, "BLOB_UNKNOWN", http.StatusNotFound},
	LayerAlreadyExists:           {"LayerAlreadyExistsException", http.StatusBadRequest, "DENIED", http.StatusConflict},
	LayerPartTooSmall:            {"LayerPartTooSmallException", http.StatusBadRequest, "BLOB_UPLOAD_INVALID", http.StatusBadRequest},
	EmptyUpload:                  {"EmptyUploadException", http.StatusBadRequest, "BLOB_UPLOAD_INVALID", http.StatusBadRequest},
	InvalidLayer:                 {"InvalidLayerException", http.StatusBadRequest, "DIGEST_INVALID", http.StatusBadRequest},
	InvalidLayerPart:             {"InvalidLayerPartException", http.StatusBadRequest, "BLOB_UPLOAD_INVALID", http.StatusRequestedRangeNotSatisfiable},
	UploadNotFound:               {"UploadNotFoundException", http.StatusBadRequest, "BLOB_UPLOAD_UNKNOWN", http.StatusNotFound},
	LimitExceeded:                {"LimitExceededException", http.StatusBadRequest, "DENIED", http.StatusForbidden},
	TooManyTags:                  {"TooManyTagsException", http.StatusBadRequest, "DENIED", http.StatusBadRequest},
	InvalidTagParameter:          {"InvalidTagParameterException", http.StatusBadRequest, "DENIED", http.StatusBadRequest},
	LifecyclePolicyNotFound:      {"LifecyclePolicyNotFoundException", http.StatusBadRequest, "NAME_UNKNOWN", http.StatusNotFound},
	LifecyclePreviewNotFound:     {"LifecyclePolicyPreviewNotFoundException", http.StatusBadRequest, "NAME_UNKNOWN", http.StatusNotFound},
	LifecyclePreviewInProgress:   {"LifecyclePolicyPreviewInProgressException", http.StatusBadRequest, "DENIED", http.StatusConflict},
	RegistryPolicyNotFound:       {"RegistryPolicyNotFoundException", http.StatusBadRequest, "NAME_UNKNOWN", http.StatusNotFound},
	RepositoryPolicyNotFound:     {"RepositoryPolicyNotFoundException", http.StatusBadRequest, "NAME_UNKNOWN", http.StatusNotFound},
	CacheRuleNotFound:            {"PullThroughCacheRuleNotFoundException", http.StatusBadRequest, "NAME_UNKNOWN", http.StatusNotFound},
	CacheRuleAlreadyExists:       {"PullThroughCacheRuleAlreadyExistsException", http.StatusBadRequest, "DENIED", http.StatusConflict},
	UnsupportedUpstreamRegistry:  {"UnsupportedUpstreamRegistryException", http.StatusBadRequest, "UNSUPPORTED", http.StatusBadRequest},
	ManifestTooLarge:             {"InvalidParameterException", http.StatusBadRequest, "MANIFEST_INVALID", http.StatusRequestEntityTooLarge},
	ImageReferenced:              {"InvalidParameterException", http.StatusBadRequest, "DENIED", http.StatusConflict},
	KMSFailure:                   {"KmsException", http.StatusBadRequest, "DENIED", http.StatusForbidden},
	ExclusionAlreadyExists:       {"ExclusionAlreadyExistsException", http.StatusBadRequest, "DENIED", http.StatusConflict},
	ExclusionNotFound:            {"ExclusionNotFoundException", http.StatusBadRequest, "NAME_UNKNOWN", http.StatusNotFound},
	SigningConfigurationNotFound: {"SigningConfigurationNotFoundException", http.StatusBadRequest, "NAME_UNKNOWN", http.StatusNotFound},
	TemplateAlreadyExists:        {"TemplateAlreadyExistsException", http.StatusBadRequest, "DENIED", http.StatusConflict},
	TemplateNotFound:             {"TemplateNotFoundException", http.StatusBadRequest, "NAME_UNKNOWN", http.StatusNotFound},
	StorageClassNotSupported:     {"ImageStorageClassUpdateNotSupportedException", http.StatusBadRequest, "DENIED", http.StatusConflict},
	ImageArchived:                {"ImageArchivedException", http.StatusBadRequest, "DENIED", http.StatusConflict},
	UnsupportedImageType:         {"UnsupportedImageTypeException", http.StatusBadRequest, "UNSUPPORTED", http.StatusBadRequest},
	ScanNotFound:                 {"ScanNotFoundException", http.StatusBadRequest, "NAME_UNKNOWN", http.StatusNotFound},
	ImageBarred:                  {"AccessDeniedException", http.StatusBadRequest, "DENIED", http.StatusForbidden},
	FeatureDisabled:              {"ValidationException", http.StatusBadRequest, "UNSUPPORTED", http.StatusBadRequest},
	BackfillInProgress:           {"ReplicationBackfillInProgressException", http.StatusBadRequest, "DENIED", http.StatusConflict},
	BackfillInvalidStatus:        {"ReplicationBackfillInvalidStatusException", http.StatusBadRequest, "DENIED", http.StatusConflict},
	BackfillNotFound:             {"ReplicationBackfillNotFoundException", http.StatusBadRequest, "NAME_UNKNOWN", http.StatusNotFound},
	TemplateUnusable:             {"InvalidParameterException", http.StatusBadRequest, "DENIED", http.StatusForbidden},
	SecretNotFound:               {"SecretNotFoundException", http.StatusBadRequest, "DENIED", http.StatusForbidden},
	SecretUnreachable:            {"UnableToAccessSecretException", http.StatusBadRequest, "DENIED", http.StatusForbidden},
	SecretSealed:                 {"UnableToDecryptSecretValueException", http.StatusBadRequest, "DENIED", http.StatusForbidden},
	UpstreamDenied:               {upstreamImage, http.StatusBadRequest, "DENIED", http.StatusForbidden},
	UpstreamTooMany:              {upstreamImage, http.StatusBadRequest, "TOOMANYREQUESTS", http.StatusTooManyRequests},
	UpstreamUnavailable:          {upstreamImage, http.StatusBadRequest, "UNAVAILABLE", http.StatusServiceUnavailable},
}

// upstreamImage is the exception for images that an upstream did not give;
// layers and referrers have their own.
const upstreamImage = "UnableToGetUpstreamImageException"

// An Error is a refusal in ECR's words.
type Error struct {
	Code      Code
	Message   string
	Exception string         // in place of the code's own; empty: that one
	Extra     map[string]any // further members of the ECR exception
	Err       error          // what lies behind, for logs
}

func (e *Error) Error() string { return e.Form().Exception + ": " + e.Message }

// Unwrap gives what lies behind.
func (e *Error) Unwrap() error { return e.Err }

// Form is how the refusal looks at each door.
func (e *Error) Form() Form {
	f := forms[e.Code]
	if e.Exception != "" {
		f.Exception = e.Exception
	}
	return f
}

// Is reports whether err is a refusal for the given reason.
func Is(err error, code Code) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == code
}

func refuse(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// invalid is ECR's sentence for a parameter that breaks a constraint.
func invalid(member, constraint string) *Error {
	return refuse(InvalidParameter, "Invalid parameter at '%s' failed to satisfy constraint: '%s'", member, constraint)
}
