{{/* Only what Go's template language has itself is used here, none of Helm's functions: the tests render it so. */}}
{{ define "cs.map" }}{{ if eq (printf "%T" .) "string" }}{{ printf "%q" . }}{{ else }}{ {{ range $name, $value := . }}{{ printf "%q" $name }}: {{ template "cs.map" $value }}, {{ end }}}{{ end }}{{ end }}

{{ define "cs.labels" }}app.kubernetes.io/name: countersign, app.kubernetes.io/instance: {{ printf "%q" .Release.Name }}{{ end }}

{{/* Files keep their modes where a volume is mounted again: keys that others could read are refused. */}}
{{ define "cs.pod" }}{ runAsNonRoot: true, runAsUser: {{ .Values.owner }}, runAsGroup: {{ .Values.owner }}, fsGroup: {{ .Values.owner }}, fsGroupChangePolicy: OnRootMismatch, seccompProfile: { type: RuntimeDefault } }{{ end }}

{{ define "cs.container" }}{ allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: [ALL] } }{{ end }}

{{/* A Secret is mounted readable by a group (288 is 0440); its files are copied into memory, with the mode that is asked for. */}}
{{ define "cs.copy" }}[sh, -c, 'umask 077 && cp /etc/countersign/secret/* /etc/countersign/keys/']{{ end }}
{{ define "cs.copyMounts" }}[{ name: secret, mountPath: /etc/countersign/secret, readOnly: true }, { name: keys, mountPath: /etc/countersign/keys }]{{ end }}
{{ define "cs.copyResources" }}{ requests: { cpu: 10m, memory: 16Mi }, limits: { memory: 64Mi } }{{ end }}
{{ define "cs.keys" }}{ name: keys, emptyDir: { medium: Memory, sizeLimit: 16Mi } }{{ end }}
{{ define "cs.tmp" }}{ name: tmp, emptyDir: { sizeLimit: 1Gi } }{{ end }}
{{ define "cs.keyMounts" }}{ name: keys, mountPath: /etc/countersign/keys, readOnly: true }, { name: tmp, mountPath: /tmp }{{ end }}

{{/* What several processes share stands in volumes, or all of it in S3. */}}
{{ define "cs.root" }}{{ if .Values.objects.place }}{{ .Values.objects.place }}{{ else }}/var/lib/countersign{{ end }}{{ end }}
{{ define "cs.s3Env" }}{{ if .Values.objects.place }}{ name: COUNTERSIGN_S3_KEY_FILE, value: /etc/countersign/keys/s3.key }, { name: COUNTERSIGN_S3_REGION, value: {{ printf "%q" .Values.objects.region }} }, {{ if .Values.objects.endpoint }}{ name: COUNTERSIGN_S3_ENDPOINT, value: {{ printf "%q" .Values.objects.endpoint }} }, {{ end }}{{ end }}{{ end }}

{{ define "cs.redisEnv" }}{{ template "cs.s3Env" . }}{ name: COUNTERSIGN_REDIS_URL, value: {{ printf "%q" .Values.redis.url }} }, { name: COUNTERSIGN_SHARD, value: {{ printf "%q" .Values.redis.shard }} }, { name: COUNTERSIGN_REDIS_PASSWORD_FILE, value: /etc/countersign/keys/redis.password }, { name: COUNTERSIGN_CATALOG, value: /etc/countersign/keys/models.json }{{ end }}
{{ define "cs.serviceEnv" }}{ name: COUNTERSIGN_TICKET_KEY_FILE, value: /etc/countersign/keys/ticket.key }, { name: COUNTERSIGN_SECRETS_KEY_FILES, value: /etc/countersign/keys/secrets.key }, { name: COUNTERSIGN_KEYRING, value: /etc/countersign/keys/keyring.json }, { name: COUNTERSIGN_TLOG, value: '{{ template "cs.root" . }}/log' }, { name: COUNTERSIGN_FILES, value: '{{ template "cs.root" . }}/files' }, { name: COUNTERSIGN_BLOBS, value: '{{ template "cs.root" . }}/blobs' }{{ end }}
{{ define "cs.serviceMounts" }}{{ if not .Values.objects.place }}, { name: blobs, mountPath: /var/lib/countersign/blobs }, { name: files, mountPath: /var/lib/countersign/files }, { name: log, mountPath: /var/lib/countersign/log, readOnly: true }{{ end }}{{ end }}
{{ define "cs.blobs" }}{{ if not .Values.objects.place }}- { name: blobs, persistentVolumeClaim: { claimName: {{ .Values.volumes.blobs }} } }{{ end }}{{ end }}
{{ define "cs.files" }}{{ if not .Values.objects.place }}- { name: files, persistentVolumeClaim: { claimName: {{ .Values.volumes.files }} } }{{ end }}{{ end }}
{{ define "cs.log" }}{{ if not .Values.objects.place }}- { name: log, persistentVolumeClaim: { claimName: {{ .Values.volumes.log }} } }{{ end }}{{ end }}
{{ define "cs.models" }}{ name: models, persistentVolumeClaim: { claimName: {{ .Values.volumes.models }}, readOnly: true } }{{ end }}
{{ define "cs.list" }}{ name: list, persistentVolumeClaim: { claimName: {{ .Values.volumes.list }} } }{{ end }}

{{/* Metrics say nothing of Redis: a Redis that is away must not end processes, which wait for it. */}}
{{ define "cs.metricsEnv" }}{ name: COUNTERSIGN_METRICS_HOST, value: '0.0.0.0' }, { name: COUNTERSIGN_METRICS_PORT, value: '9464' }{{ end }}
{{ define "cs.live" }}{ httpGet: { path: /metrics, port: metrics }, periodSeconds: 10, timeoutSeconds: 5, failureThreshold: 6 }{{ end }}
{{ define "cs.ready" }}{ httpGet: { path: /health, port: metrics }, periodSeconds: 5, timeoutSeconds: 3 }{{ end }}
{{ define "cs.webLive" }}{ httpGet: { path: /health/live, port: http }, periodSeconds: 10, timeoutSeconds: 5, failureThreshold: 6 }{{ end }}

{{/* Those who call learn that a process goes before it does. */}}
{{ define "cs.leave" }}{ preStop: { sleep: { seconds: 5 } } }{{ end }}
