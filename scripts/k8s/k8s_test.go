// Package k8s_test holds the manifests against the types of the Kubernetes API: what a
// cluster would drop in silence, or refuse, fails here.
package k8s_test

import (
	"bytes"
	"os"
	"strings"
	"testing"

	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// manifest is what a file has of each kind.
type manifest struct {
	jobs   []batch.Job
	claims []core.PersistentVolumeClaim
}

// decode refuses fields that the API does not have, and those that are there twice.
func decode(t *testing.T, data []byte) (m manifest, err error) {
	t.Helper()
	for doc := range bytes.SplitSeq(data, []byte("\n---\n")) {
		var head struct{ Kind, APIVersion string }
		if err := yaml.Unmarshal(doc, &head); err != nil {
			return m, err
		}
		switch head.APIVersion + " " + head.Kind {
		case "batch/v1 Job":
			m.jobs = append(m.jobs, batch.Job{})
			err = yaml.UnmarshalStrict(doc, &m.jobs[len(m.jobs)-1])
		case "v1 PersistentVolumeClaim":
			m.claims = append(m.claims, core.PersistentVolumeClaim{})
			err = yaml.UnmarshalStrict(doc, &m.claims[len(m.claims)-1])
		default:
			t.Errorf("%s %s: a kind that this test does not know", head.APIVersion, head.Kind)
		}
		if err != nil {
			return m, err
		}
	}
	return m, nil
}

func load(t *testing.T, name string) (manifest, string) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	m, err := decode(t, data)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return m, string(data)
}

func TestManifestsAreOfTheAPI(t *testing.T) {
	soak, text := load(t, "soak.yaml")
	merge, _ := load(t, "merge.yaml")
	if len(soak.jobs) != 1 || len(soak.claims) != 1 || len(merge.jobs) != 1 {
		t.Fatalf("%d and %d jobs, %d claims", len(soak.jobs), len(merge.jobs), len(soak.claims))
	}
	// An indexed job tells each pod its index; a shard with a finding must not end the others.
	j := soak.jobs[0].Spec
	if j.CompletionMode == nil || *j.CompletionMode != batch.IndexedCompletion || j.Completions == nil || *j.Completions < 2 ||
		j.BackoffLimitPerIndex == nil || j.MaxFailedIndexes == nil || *j.MaxFailedIndexes < *j.Completions {
		t.Errorf("the soak is no indexed job whose pods stand alone: %+v", j)
	}
	for _, job := range []batch.Job{soak.jobs[0], merge.jobs[0]} {
		pod := job.Spec.Template.Spec
		if pod.RestartPolicy != core.RestartPolicyNever {
			t.Errorf("%s: a container is started again after its verdict", job.Name)
		}
		if len(pod.Volumes) != 1 || pod.Volumes[0].PersistentVolumeClaim == nil || pod.Volumes[0].PersistentVolumeClaim.ClaimName != soak.claims[0].Name {
			t.Errorf("%s: does not mount the claim of the records", job.Name)
		}
		for _, c := range pod.Containers {
			if len(c.VolumeMounts) != 1 || c.VolumeMounts[0].Name != pod.Volumes[0].Name || c.VolumeMounts[0].MountPath != "/records" {
				t.Errorf("%s: records are at %+v", job.Name, c.VolumeMounts)
			}
		}
	}
	env := map[string]string{}
	for _, e := range j.Template.Spec.Containers[0].Env {
		env[e.Name] = e.Value
	}
	if env["HALFOPEN_OUT"] != "/records" || env["HALFOPEN_KEEP"] != "0" {
		t.Errorf("the soak writes with %v", env)
	}
	// The check itself: a field that is no field, and a wrong type.
	for was, planted := range map[string]string{"completions: 4": "completion: 4", "backoffLimitPerIndex: 0": "backoffLimitPerIndex: none", "claimName:": "claim:"} {
		if !strings.Contains(text, was) {
			t.Fatalf("soak.yaml has no %q", was)
		}
		if _, err := decode(t, []byte(strings.Replace(text, was, planted, 1))); err == nil {
			t.Errorf("%q was not refused", planted)
		}
	}
}
