package sigv4

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
)

// serve answers signed ECR and STS calls over real HTTP, as a door would.
func serve(t *testing.T) string {
	t.Helper()
	v := New(keys{testKey: {secret: testSecret}}, time.Now, Options{Services: []string{"ecr", "sts"}})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		isECR := r.Header.Get("X-Amz-Target") != ""
		service := "sts"
		if isECR {
			service = "ecr"
		}
		id, err := v.ForService(service).Verify(r, body)
		var e *Error
		switch {
		case errors.As(err, &e) && isECR:
			w.WriteHeader(e.Status)
			_, err = io.WriteString(w, `{"__type":"`+e.Code+`","message":"`+e.Message+`"}`)
		case errors.As(err, &e):
			w.WriteHeader(e.QueryStatus)
			_, err = io.WriteString(w, `<ErrorResponse><Error><Code>`+e.QueryCode+`</Code><Message>`+e.QueryMessage+`</Message></Error></ErrorResponse>`)
		case err != nil:
			t.Error(err)
		case isECR:
			_, err = io.WriteString(w, `{"registryId":"`+id.Principal.Account+`"}`)
		default:
			_, err = io.WriteString(w, `<GetCallerIdentityResponse><GetCallerIdentityResult><Account>`+id.Principal.Account+
				`</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`)
		}
		if err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

// The SDK's own clients, with every header they add, get in; with a wrong key
// they get the exception they know.
func TestClients(t *testing.T) {
	url := serve(t)
	config := func(key, secret string) aws.Config {
		return aws.Config{Region: "ap-southeast-1", BaseEndpoint: &url,
			Credentials: credentials.NewStaticCredentialsProvider(key, secret, "")}
	}
	good := config(testKey, testSecret)
	out, err := ecr.NewFromConfig(good).DescribeRegistry(t.Context(), &ecr.DescribeRegistryInput{})
	if err != nil || aws.ToString(out.RegistryId) != testAccount {
		t.Errorf("ecr: %+v, %v", out, err)
	}
	who, err := sts.NewFromConfig(good).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	if err != nil || aws.ToString(who.Account) != testAccount {
		t.Errorf("sts: %+v, %v", who, err)
	}
	link, err := sts.NewPresignClient(sts.NewFromConfig(good)).PresignGetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.Post(link.URL, "", nil)
	if link.Method == http.MethodGet {
		res, err = http.Get(link.URL)
	}
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK || !strings.Contains(string(body), testAccount) {
		t.Errorf("presigned: %d %s", res.StatusCode, body)
	}

	for key, want := range map[string][2]string{
		testKey:  {"InvalidSignatureException", "SignatureDoesNotMatch"},
		"AKIDNO": {"UnrecognizedClientException", "InvalidClientTokenId"},
	} {
		bad := config(key, "wrong")
		_, ecrErr := ecr.NewFromConfig(bad).DescribeRegistry(t.Context(), &ecr.DescribeRegistryInput{})
		_, stsErr := sts.NewFromConfig(bad).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
		for i, err := range []error{ecrErr, stsErr} {
			var api smithy.APIError
			if !errors.As(err, &api) || api.ErrorCode() != want[i] {
				t.Errorf("%s: got %v, want %s", key, err, want[i])
			}
		}
	}
}

// One verifier serves many at once; meant for the race detector.
func TestConcurrentVerify(t *testing.T) {
	v := New(keys{testKey: {secret: testSecret}}, clock(at("20260101T000000Z")), Options{Services: []string{"ecr"}, CacheSize: 2})
	var wg sync.WaitGroup
	for _, region := range []string{"us-east-1", "us-west-2", "eu-west-1", "ap-southeast-1", "sa-east-1"} {
		r := signed(t, testKey, testSecret, region, "ecr", "20260101T000000Z")
		for range 2 {
			wg.Go(func() {
				for range 20 {
					if _, err := v.Verify(r.Clone(context.Background()), []byte("{}")); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	wg.Wait()
}
