package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
)

func newCacheWarmCommand(env *environment) *cobra.Command {
	var f registryFlags
	var asJSON bool
	parallel := 3
	cmd := &cobra.Command{
		Use:   "warm FILE",
		Short: "Fetch images into pull-through caches before somebody pulls them",
		Long: `Reads names of images, one a line, and asks the registry for each by BatchGetImage, as whoever calls: what is not cached is
fetched from its upstream, whole, with all platforms. Names are those of a docker pull, with or without the host of the
registry: docker-hub/library/nginx:1.27, REPOSITORY@DIGEST, or REPOSITORY alone for latest. What follows a # is a comment.
FILE may be - for the standard input. Amazon ECR answers before everything was fetched.

Images that could not be had are listed at the end; then the exit code is 1.`,
		Example: `  berth cache warm images.txt
  kubectl get pods -A -o jsonpath='{..image}' | tr ' ' '\n' | sort -u | berth cache warm -`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if parallel < 1 || parallel > 100 {
				return fmt.Errorf("--parallel %d is not within 1 to 100", parallel)
			}
			text, err := readInput(env, args[0])
			if err != nil {
				return fmt.Errorf("read the names of images: %w", err)
			}
			client, err := f.client(cmd.Context())
			if err != nil {
				return err
			}
			host, err := registryHost(cmd.Context(), client)
			if err != nil {
				return err
			}
			names, err := readImageNames(text, args[0], host)
			if err != nil {
				return err
			}
			return warm(cmd.Context(), env, client, names, parallel, asJSON)
		},
	}
	f.register(cmd)
	cmd.Flags().IntVar(&parallel, "parallel", parallel, "`IMAGES` that are fetched at the same time")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print what became of each image as JSON")
	return cmd
}

// readInput reads a file, or the standard input for -.
func readInput(env *environment, name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(env.stdin)
	}
	return os.ReadFile(pathIn(env, name))
}

// registryHost is the host in the names of a registry's images.
func registryHost(ctx context.Context, client *ecr.Client) (string, error) {
	out, err := client.GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		return "", err
	}
	if len(out.AuthorizationData) == 0 {
		return "", errors.New("the registry does not say where it is: GetAuthorizationToken answered without a proxyEndpoint")
	}
	u, err := url.Parse(aws.ToString(out.AuthorizationData[0].ProxyEndpoint))
	if err != nil {
		return "", fmt.Errorf("the registry does not say where it is: %w", err)
	}
	return u.Host, nil
}

// readImageNames reads one name of an image a line. host is the registry's.
func readImageNames(text []byte, file, host string) (names []imageName, err error) {
	lines := bufio.NewScanner(strings.NewReader(string(text)))
	for n := 1; lines.Scan(); n++ {
		name, _, _ := strings.Cut(lines.Text(), "#")
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		if last := name[strings.LastIndexByte(name, '/')+1:]; !strings.ContainsAny(last, ":@") {
			name += ":latest"
		}
		image, perr := parseImage(name)
		switch {
		case perr != nil:
			err = errors.Join(err, fmt.Errorf("%s:%d: %w", file, n, perr))
		case image.host != "" && image.host != host:
			err = errors.Join(err, fmt.Errorf("%s:%d: %s is not of the registry %s: write the name by which it is pulled through the cache, such as %s/docker-hub/library/nginx:latest",
				file, n, name, host, host))
		default:
			names = append(names, image)
		}
	}
	return names, errors.Join(err, lines.Err())
}

func (n imageName) String() string {
	if n.digest != "" {
		return n.repository + "@" + n.digest
	}
	return n.repository + ":" + n.tag
}

// A warmed is what became of one image.
type warmed struct {
	Image  string `json:"image"`
	Digest string `json:"digest,omitempty"`
	Error  string `json:"error,omitempty"`
}

// warm asks for images, some at a time, and tells of each as it comes.
func warm(ctx context.Context, env *environment, client *ecr.Client, names []imageName, parallel int, asJSON bool) error {
	results := make([]warmed, len(names))
	var mu sync.Mutex
	done, failed := 0, 0
	var g errgroup.Group
	g.SetLimit(parallel)
	for i, n := range names {
		g.Go(func() error {
			start := time.Now()
			digest, err := pullIntoCache(ctx, client, n)
			mu.Lock()
			defer mu.Unlock()
			done++
			results[i] = warmed{Image: n.String(), Digest: digest}
			line := fmt.Sprintf("%d/%d %s is %s, after %s", done, len(names), n, digest, time.Since(start).Round(time.Millisecond))
			if err != nil {
				failed++
				results[i].Error = err.Error()
				line = fmt.Sprintf("%d/%d %s failed", done, len(names), n)
			}
			return printAll(env.stderr, "", []string{line})
		})
	}
	err := g.Wait()
	if asJSON {
		err = errors.Join(err, printJSON(env.stdout, results))
	} else {
		lines := []string{fmt.Sprintf("%d of %d images are cached", len(names)-failed, len(names))}
		for _, r := range results {
			if r.Error != "" {
				lines = append(lines, "failed: "+r.Image+": "+r.Error)
			}
		}
		err = errors.Join(err, printAll(env.stdout, "", lines))
	}
	if err == nil && failed > 0 {
		return &exitError{code: 1}
	}
	return err
}

// pullIntoCache asks for one image, and gives the digest that it has.
func pullIntoCache(ctx context.Context, client *ecr.Client, n imageName) (string, error) {
	out, err := client.BatchGetImage(ctx, &ecr.BatchGetImageInput{
		RepositoryName: &n.repository, ImageIds: []types.ImageIdentifier{*n.id()},
	})
	if err != nil {
		return "", err
	}
	for _, f := range out.Failures {
		return "", fmt.Errorf("%s (%s)", aws.ToString(f.FailureReason), f.FailureCode)
	}
	if len(out.Images) == 0 || out.Images[0].ImageId == nil {
		return "", errors.New("the registry gave neither the image nor a reason")
	}
	return aws.ToString(out.Images[0].ImageId.ImageDigest), nil
}
